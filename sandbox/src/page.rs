//! HTML by hand: escaping, the frame of every page, and small parts.
//!
//! `cashier`, the checkouts' error pages → **`page`** → `answer::page`.
//!
//! Invariant: text from a request reaches a page only through [`escape`]; there is no script and no file from
//! elsewhere. Every visible text is in zh-TW first, then in English, marked with its language for screen readers.
//! Not here: what a page says (`cashier`). Nothing here fails.

use crate::trade::Provider;

const STYLE: &str = include_str!("page.css");

/// Text made safe for an element or a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            plain => safe.push(plain),
        }
    }
    safe
}

/// A text in both languages.
pub(crate) fn both(chinese: &str, english: &str) -> String {
    format!(
        r#"{} <span lang="en">{}</span>"#,
        escape(chinese),
        escape(english)
    )
}

/// The provider's name as the customer knows it.
pub(crate) const fn house(provider: Provider) -> (&'static str, &'static str) {
    match provider {
        Provider::Ecpay => ("綠界科技", "ECPay"),
        Provider::Payuni => ("統一金流", "PAYUNi"),
        Provider::Mock => ("模擬金流", "Mock provider"),
    }
}

/// A whole page around `body`.
pub(crate) fn frame(provider: Provider, title: &str, body: &str) -> String {
    let (chinese, english) = house(provider);
    let key = provider.as_str();
    let title = escape(title);
    format!(
        r#"<!doctype html>
<html lang="zh-Hant-TW" data-provider="{key}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>
<body>
<header><div><strong>{chinese} <span lang="en">{english}</span></strong><span class="tag">沙盒 <span lang="en">Sandbox</span></span></div></header>
<main>
{body}
</main>
<footer>這是測試頁面，不會有任何真實扣款。<br><span lang="en">A test page of Tollgate. No real money moves here.</span></footer>
</body>
</html>
"#
    )
}

/// One row of a description list.
pub(crate) fn row(chinese: &str, english: &str, value: &str) -> String {
    format!("<dt>{}</dt><dd>{value}</dd>\n", both(chinese, english))
}

/// A refusal, with the provider's code where a program can find it.
pub(crate) fn refusal(provider: Provider, code: &str, text: &str) -> String {
    let code = escape(code);
    let body = format!(
        r#"<section class="card"><div class="state failed" role="alert"><span class="sign" aria-hidden="true">!</span><div><h1>{}</h1><p>{}</p></div></div></section>
<section class="card"><dl>{}{}</dl></section>"#,
        both("無法建立交易", "The order was refused"),
        both("請返回商店重新操作", "Go back to the shop and try again"),
        row(
            "錯誤代碼",
            "Code",
            &format!(r#"<code id="error-code" data-code="{code}">{code}</code>"#)
        ),
        row(
            "說明",
            "Reason",
            &format!(r#"<span id="error-text" lang="en">{}</span>"#, escape(text))
        ),
    );
    frame(provider, &format!("{code} {text}"), &body)
}

#[cfg(test)]
mod tests {
    use super::{escape, refusal};
    use crate::trade::Provider;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape(r#"<a href="x" title='y'>&"#),
            "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;"
        );
        let page = refusal(Provider::Ecpay, "10100050", "<script>Not In Spec");
        assert!(!page.contains("<script>"), "{page}");
    }
}
