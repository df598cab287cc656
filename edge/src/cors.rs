//! Which pages may call the browser routes.
//!
//! route → **cors** → checkout, status, config. The list is `CORS_ORIGINS`.
//!
//! Invariant (ED-6): one listed origin is echoed, never a list and never `*`; `Vary: Origin` always, so that no
//! cache gives one page's answer to another. An origin that is not listed gets the answer without the header,
//! and the browser keeps it from the page. Webhook routes have no such headers.
//! No cookie is read anywhere, so there is no `Allow-Credentials`. Not here: who the caller is (`session`).

use crate::answer::Answer;
use crate::config::Settings;

/// The answer, readable for the page if its origin is listed.
pub(crate) fn readable(settings: &Settings, origin: &str, answer: Answer) -> Answer {
    let answer = answer.header("vary", "Origin");
    match listed(settings, origin) {
        Some(origin) => answer.header("access-control-allow-origin", origin).header(
            "access-control-expose-headers",
            "idempotency-replayed, retry-after",
        ),
        None => answer,
    }
}

/// The answer to a preflight.
pub(crate) fn preflight(settings: &Settings, origin: &str, methods: &str) -> Answer {
    let answer = Answer::empty("preflight").header("vary", "Origin");
    match listed(settings, origin) {
        Some(origin) => answer
            .header("access-control-allow-origin", origin)
            .header("access-control-allow-methods", methods)
            .header(
                "access-control-allow-headers",
                "authorization, content-type, idempotency-key, x-csrf-token",
            )
            .header("access-control-max-age", "600"),
        None => answer,
    }
}

/// The entry of the list itself, so that no caller's text reaches a header.
fn listed<'a>(settings: &'a Settings, origin: &str) -> Option<&'a str> {
    settings
        .cors_origins
        .iter()
        .map(String::as_str)
        .find(|listed| *listed == origin)
}

#[cfg(test)]
mod tests {
    use super::{preflight, readable};
    use crate::answer::Answer;
    use crate::config::tests::settings_of;

    #[test]
    fn ed_6_one_listed_origin_is_echoed_and_no_other() {
        let settings = settings_of("CORS_ORIGINS=https://a.example,https://b.example");
        let seen = |origin: &str| readable(&settings, origin, Answer::empty("x")).lines;
        assert!(seen("https://b.example").contains("access-control-allow-origin: https://b.example"));
        for origin in [
            "",
            "null",
            "https://c.example",
            "https://a.example.evil",
            "https://A.example",
            "*",
        ] {
            assert_eq!(seen(origin), "vary: Origin", "{origin:?}");
        }
    }

    #[test]
    fn ed_6_a_preflight_names_methods_and_headers() {
        let settings = settings_of("CORS_ORIGINS=https://a.example");
        let lines = preflight(&settings, "https://a.example", "POST").lines;
        assert!(lines.contains("access-control-allow-methods: POST"));
        assert!(lines.contains("idempotency-key, x-csrf-token"));
        assert_eq!(
            preflight(&settings, "https://b.example", "POST").lines,
            "vary: Origin"
        );
    }
}
