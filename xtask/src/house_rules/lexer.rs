//! Rust source taken apart just far enough: code, text literals, comments.
//!
//! `form` and `sql` → **`split`** → the code with blanks where comments and literals stood, and the literals.
//!
//! Invariant: the code keeps every line break, so that line numbers stay true.
//! Not here: parsing. A brace in a literal or comment does not count; that is all the rules need.
//! Failure: none; source that does not compile gives a split that nobody uses.

/// A source taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// Code, with everything else blank.
    pub(super) code: String,
    /// Text literals with the line they begin on, without their quotes.
    pub(super) literals: Vec<(usize, String)>,
}

pub(super) fn split(source: &str) -> Split {
    let mut split = Split::default();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let length = token_length(rest, split.code.chars().next_back());
        let (token, after) = rest
            .split_at_checked(length.max(next.len_utf8()))
            .unwrap_or((rest, ""));
        if token.len() == next.len_utf8() {
            split.code.push(next);
        } else {
            let line = split.code.matches('\n').count().saturating_add(1);
            if !token.starts_with('/') && !token.starts_with('\'') {
                split.literals.push((line, unquote(token).to_owned()));
            }
            split
                .code
                .extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    split
}

/// Bytes of the comment or literal that `rest` begins with; 0 if it begins with code.
fn token_length(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |at| at.saturating_add(2));
    }
    if rest.starts_with('"') {
        return quoted(rest, 1, '"');
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    if in_word {
        return 0;
    }
    let prefix = ["br", "cr", "r", "b", "c"].into_iter().find(|prefix| {
        rest.strip_prefix(prefix)
            .is_some_and(|after| after.starts_with('"') || (prefix.ends_with('r') && after.starts_with('#')))
    });
    match prefix {
        Some(prefix) if prefix.ends_with('r') => raw(rest, prefix.len()),
        Some(prefix) => quoted(rest, prefix.len().saturating_add(1), '"'),
        None => 0,
    }
}

/// Up to the closing quote that no backslash precedes.
fn quoted(rest: &str, from: usize, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip_while(|(at, _)| *at < from) {
        if !escaped && character == quote {
            return at.saturating_add(1);
        }
        escaped = !escaped && character == '\\';
    }
    rest.len()
}

/// `r#"…"#` with any number of hashes; `r#word` is a word.
fn raw(rest: &str, prefix: usize) -> usize {
    let after = rest.get(prefix..).unwrap_or_default();
    let hashes = after.len().saturating_sub(after.trim_start_matches('#').len());
    if !after.get(hashes..).is_some_and(|body| body.starts_with('"')) {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = prefix.saturating_add(hashes).saturating_add(1);
    let end = rest.get(body..).and_then(|text| text.find(&close));
    end.map_or(rest.len(), |at| {
        body.saturating_add(at).saturating_add(close.len())
    })
}

/// `'x'` and `'\n'` are literals, `'a` is a lifetime.
fn character(rest: &str) -> usize {
    let mut inner = rest.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), _) => quoted(rest, 1, '\''),
        (Some(one), Some('\'')) => one.len_utf8().saturating_add(2),
        _ => 0,
    }
}

fn unquote(token: &str) -> &str {
    let inner = token
        .trim_start_matches(['b', 'c', 'r', '#'])
        .trim_end_matches('#');
    let inner = inner.strip_prefix('"').unwrap_or(inner);
    inner.strip_suffix('"').unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_literals_and_comments_are_no_code() {
        let source = "fn a<'x>() { let s = \"{\\\"\"; let c = '{'; /* { */ r#\"{\"\"#; } // {\nend";
        let split = split(source);
        assert_eq!(split.code.matches('{').count(), 1, "{}", split.code);
        assert_eq!(split.code.matches('}').count(), 1);
        assert!(split.code.contains("<'x>") && split.code.ends_with("\nend"));
        assert_eq!(split.literals, [(1, "{\\\"".to_owned()), (1, "{\"".to_owned())]);
    }

    #[test]
    fn a_word_that_ends_in_r_is_no_raw_text() {
        assert_eq!(split("for\"x\"").code, "for   ");
        assert_eq!(split("r#type").literals, []);
    }
}
