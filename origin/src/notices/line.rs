//! Texts of others, made fit for a subject line.
//!
//! A plan's name, a provider's reason → **[`one_line`]** → subjects, bodies, events.
//!
//! Invariant: what comes out is one line of at most 120 characters without control characters (a CR LF would begin a
//! header of its own, a NUL would be refused by Postgres in the middle of a money transaction) and without the
//! characters that nobody sees and that turn the direction of writing or make two texts look alike. Not here: HTML, which askama
//! escapes.

/// A subject of more is cut by mail programs anyway.
const LENGTH_MAX: usize = 120;

/// The text in one line.
pub(super) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if is_unfit(c) { ' ' } else { c }).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH_MAX) {
        None => line,
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
    }
}

fn is_unfit(c: char) -> bool {
    let turns =
        matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    // Zero width, deprecated formats, tags: two texts that look the same would be two. ZWJ stays, emoji are made of it.
    let hides = matches!(c, '\u{200B}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}');
    c.is_control() || turns || breaks || hides
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_text_becomes_one_line_without_control_characters() {
        for (text, line) in [
            ("Pro", "Pro"),
            ("專業方案 ★", "專業方案 ★"),
            (
                "Pro\r\nBcc: everyone@example.com",
                "Pro Bcc: everyone@example.com",
            ),
            ("a\u{0}b\tc\u{2028}d\u{85}e", "a b c d e"),
            ("\u{202E}eerf", "eerf"),
            ("\u{61C}Pro\u{200B}\u{FEFF}fit\u{E0041}", "Pro fit"),
            ("👩\u{200D}💻", "👩\u{200D}💻"),
            (" \n ", ""),
        ] {
            assert_eq!(one_line(text), line, "{text:?}");
        }
        let long = one_line(&"字".repeat(121));
        assert_eq!(long, format!("{}…", "字".repeat(120)));
    }
}
