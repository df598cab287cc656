//! The words of every kind in every locale, as text and as HTML (EC-8, PU-6): read the snapshots.
//!
//! After a change of wording: `INSTA_UPDATE=always cargo test -p tollgate-origin notices::words`, then read the diff.

use std::fmt::Write as _;

use tollgate_shared::money::Money;
use tollgate_shared::provider::DeclineReason;
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};
use uuid::Uuid;

use super::details::labels;
use super::{Words, amount, manage_url, subject, write};
use crate::notices::{Locale, Notice, NoticeFacts, NoticeKind};

fn taipei(text: &str) -> Timestamp {
    Timestamp::from_taipei(ECPAY_FORMAT, text).unwrap()
}

fn all_facts() -> NoticeFacts {
    NoticeFacts {
        plan_name: "Pro 專業方案".to_owned(),
        money: Some(Money::twd(1_234)),
        period_number: Some(3),
        period_total: Some(12),
        // The first second of a day in Taiwan is the day before in Greenwich.
        next_charge_at: Some(taipei("2027/02/27 00:00:00")),
        next_retry_at: Some(taipei("2027/01/25 06:00:00")),
        grace_period_ends_at: Some(taipei("2027/01/31 23:59:59")),
        // The first instant that is not paid for: the last day is the one before.
        access_until: Some(taipei("2027/03/01 00:00:00")),
        decline: None,
        reason: Some("10100058: 餘額不足".to_owned()),
        reference: Some("T20270101ABC".to_owned()),
    }
}

fn bare_facts() -> NoticeFacts {
    NoticeFacts {
        plan_name: "Pro".to_owned(),
        ..NoticeFacts::default()
    }
}

fn notice(kind: NoticeKind, facts: &NoticeFacts) -> Notice {
    Notice {
        user: "user-1".parse().unwrap(),
        subscription: Some(Uuid::from_u128(7)),
        operation_key: "step".to_owned(),
        kind,
        facts: facts.tidied(),
        delivery: None,
        occurred_at: taipei("2027/01/24 10:00:00"),
    }
}

fn written(notice: &Notice, locale: Locale) -> Words {
    let base = "https://app.example.tw/billing".parse().unwrap();
    write(notice, locale, &manage_url(&base, notice))
}

/// Every kind, one after the other.
fn every_kind(facts: &NoticeFacts, locale: Locale, form: impl Fn(&Words) -> String) -> String {
    let mut all = String::new();
    for kind in NoticeKind::ALL {
        let notice = notice(*kind, facts);
        let urgency = kind.urgency().label();
        let form = form(&written(&notice, locale));
        writeln!(all, "======== {} ({urgency})\n{form}", kind.label()).unwrap();
    }
    all
}

fn text(words: &Words) -> String {
    format!("Subject: {}\n\n{}", words.subject, words.text)
}

#[test]
fn ec_8_pu_6_text_in_both_locales() {
    insta::assert_snapshot!("text_zh_tw", every_kind(&all_facts(), Locale::ZhTw, text));
    insta::assert_snapshot!("text_en", every_kind(&all_facts(), Locale::En, text));
}

#[test]
fn ec_8_pu_6_text_without_any_fact_that_may_be_absent() {
    insta::assert_snapshot!("bare_zh_tw", every_kind(&bare_facts(), Locale::ZhTw, text));
    insta::assert_snapshot!("bare_en", every_kind(&bare_facts(), Locale::En, text));
}

#[test]
fn ec_8_pu_6_html_in_both_locales() {
    insta::assert_snapshot!(
        "html_zh_tw",
        every_kind(&all_facts(), Locale::ZhTw, |words| words.html.clone())
    );
    insta::assert_snapshot!(
        "html_en",
        every_kind(&all_facts(), Locale::En, |words| words.html.clone())
    );
}

/// Of a failure, the reason in the customer's language, whatever else was said.
#[test]
fn ec_8_a_failure_tells_why_in_the_customers_words() {
    let mut all = String::new();
    for reason in DeclineReason::ALL {
        let facts = NoticeFacts {
            decline: Some(reason),
            ..all_facts()
        };
        for locale in Locale::ALL {
            for kind in [NoticeKind::FirstFailure, NoticeKind::Downgraded] {
                let words = written(&notice(kind, &facts), locale);
                let line = words
                    .text
                    .lines()
                    .find(|line| line.starts_with(labels(locale).reason));
                writeln!(all, "{} {}: {}", reason.label(), kind.label(), line.unwrap()).unwrap();
            }
        }
    }
    insta::assert_snapshot!("declines", all);
}

#[test]
fn ec_8_the_final_warning_says_the_day_of_the_downgrade_out_loud() {
    for (locale, day) in [(Locale::ZhTw, "2027年1月31日"), (Locale::En, "31 January 2027")] {
        let words = written(&notice(NoticeKind::FinalWarning, &all_facts()), locale);
        assert!(
            words.subject.contains(day) && words.subject.contains("FREE"),
            "{words:?}"
        );
        assert!(words.text.contains(day) && words.html.contains(day));
    }
}

#[test]
fn what_ends_is_told_with_its_last_day() {
    for (end, day) in [
        ("2027/03/01 00:00:00", "2027年2月28日"),
        ("2027/03/01 00:00:01", "2027年3月1日"),
        ("2027/03/01 10:30:00", "2027年3月1日"),
        ("2027/01/01 00:00:00", "2026年12月31日"),
    ] {
        let facts = NoticeFacts {
            access_until: Some(taipei(end)),
            grace_period_ends_at: Some(taipei(end)),
            ..bare_facts()
        };
        for kind in [NoticeKind::CancelScheduled, NoticeKind::FirstFailure] {
            let words = written(&notice(kind, &facts), Locale::ZhTw);
            assert!(
                words.text.contains(&format!("可繼續使用至 {day}。"))
                    || words.text.contains(&format!("可使用至 {day}。")),
                "{end} {words:?}"
            );
        }
    }
}

#[test]
fn a_mail_shows_the_facts_that_its_kind_is_about_and_no_others() {
    for (kind, absent) in [
        (NoticeKind::PaymentReceived, ["再次扣款日", "寬限期", "可使用至"]),
        (NoticeKind::Canceled, ["NT$", "2027年1月25日", "下次扣款日"]),
        (NoticeKind::CardChanged, ["NT$", "寬限期", "可使用至"]),
        (NoticeKind::RefundIssued, ["下次扣款日", "再次扣款日", "寬限期"]),
    ] {
        let words = written(&notice(kind, &all_facts()), Locale::ZhTw);
        for text in absent {
            assert!(
                !words.text.contains(text) && !words.html.contains(text),
                "{kind:?} {text} {words:?}"
            );
        }
    }
}

#[test]
fn a_hostile_plan_name_stays_text_in_html_and_one_line_in_the_subject() {
    let facts = NoticeFacts {
        plan_name: "<script>alert(1)</script>\r\nBcc: all@example.tw\r\n\r\n<img src=x onerror=\"y\">"
            .to_owned(),
        reason: Some("</td><a href='//evil'>\u{202E}".to_owned()),
        reference: Some("\"><b>".to_owned()),
        ..all_facts()
    };
    for kind in NoticeKind::ALL {
        for locale in Locale::ALL {
            let notice = notice(*kind, &facts);
            let words = written(&notice, locale);
            assert!(!words.subject.contains(char::is_control), "{}", words.subject);
            assert_eq!(words.subject, subject(&notice, locale));
            for raw in ["<script", "<img", "<a href='", "<b>", "\u{202E}"] {
                assert!(!words.html.contains(raw), "{kind:?} {raw}");
            }
            assert!(words.html.contains("&#60;script&#62;"), "{}", words.html);
        }
    }
}

#[test]
fn amounts_are_whole_dollars_with_thousands_apart() {
    for (minor, text) in [
        (0, "NT$0"),
        (1, "NT$1"),
        (999, "NT$999"),
        (1_000, "NT$1,000"),
        (12_345, "NT$12,345"),
        (1_234_567, "NT$1,234,567"),
        (-1_234, "-NT$1,234"),
        (i64::MIN, "-NT$9,223,372,036,854,775,808"),
    ] {
        assert_eq!(amount(Money::twd(minor)), text);
    }
}
