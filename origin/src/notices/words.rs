//! A notice in words: subject, plain text and HTML, in the customer's language.
//!
//! `enqueue` → **[`write()`]** (facts as texts → `words.<locale>.txt` → `mail.txt`, `mail.html`) → the outbox row.
//!
//! Invariants: each locale's wording is one template with a match over the kind, so a kind without words does not
//! compile. Words are written once and put into both forms; the HTML form escapes them, whatever a plan is called. A
//! subject is one line without control characters, because every fact is (`NoticeFacts::tidied`). Dates are days in
//! Asia/Taipei; of what ends, the last day. Not here: the table under the words (`details`).

mod details;

use askama::Template;
use reqwest::Url;
use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;

use self::details::{Detail, Labels, details, labels};
use super::{Locale, Notice, NoticeFacts, NoticeKind, Urgency};

/// A notice, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// One line.
    pub(super) subject: String,
    /// The plain text.
    pub(super) text: String,
    /// The same as HTML.
    pub(super) html: String,
}

/// The facts of a notice as texts of a locale.
#[derive(Debug, Default)]
struct Told {
    plan: String,
    amount: Option<String>,
    period: Option<String>,
    next_charge_on: Option<String>,
    retry_on: Option<String>,
    grace_ends_on: Option<String>,
    access_until_on: Option<String>,
    reason: Option<String>,
}

macro_rules! words_of {
    ($name:ident, $path:literal) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'a> {
            kind: NoticeKind,
            plan: &'a str,
            amount: Option<&'a str>,
            period: Option<&'a str>,
            next_charge_on: Option<&'a str>,
            retry_on: Option<&'a str>,
            grace_ends_on: Option<&'a str>,
            access_until_on: Option<&'a str>,
        }

        impl<'a> $name<'a> {
            fn new(kind: NoticeKind, told: &'a Told) -> Self {
                Self {
                    kind,
                    plan: &told.plan,
                    amount: told.amount.as_deref(),
                    period: told.period.as_deref(),
                    next_charge_on: told.next_charge_on.as_deref(),
                    retry_on: told.retry_on.as_deref(),
                    grace_ends_on: told.grace_ends_on.as_deref(),
                    access_until_on: told.access_until_on.as_deref(),
                }
            }
        }
    };
}

words_of!(WordsEn, "notices/words.en.txt");
words_of!(WordsZhTw, "notices/words.zh-TW.txt");

#[derive(Template)]
#[template(path = "notices/mail.txt")]
struct MailText<'a> {
    paragraphs: &'a [&'a str],
    details: &'a [Detail],
    labels: &'a Labels,
    manage_url: &'a str,
}

#[derive(Template)]
#[template(path = "notices/mail.html")]
struct MailHtml<'a> {
    locale: Locale,
    colour: &'static str,
    subject: &'a str,
    paragraphs: &'a [&'a str],
    details: &'a [Detail],
    labels: &'a Labels,
    manage_url: &'a str,
}

/// Writes a notice whose facts are tidied.
pub(super) fn write(notice: &Notice, locale: Locale, manage_url: &str) -> Words {
    let written = words(notice, locale);
    let (subject, body) = written.split_once('\n').unwrap_or((&written, ""));
    let paragraphs: Vec<&str> = body
        .split("\n\n")
        .map(str::trim)
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    let labels = labels(locale);
    let details = details(notice, &told(&notice.facts, locale), labels);
    let text = MailText {
        paragraphs: &paragraphs,
        details: &details,
        labels,
        manage_url,
    };
    let html = MailHtml {
        locale,
        colour: colour(notice.kind.urgency()),
        subject,
        paragraphs: &paragraphs,
        details: &details,
        labels,
        manage_url,
    };
    Words {
        subject: subject.to_owned(),
        text: rendered(&text),
        html: rendered(&html),
    }
}

/// The subject alone, for the record of a notice that is not mailed.
pub(super) fn subject(notice: &Notice, locale: Locale) -> String {
    let written = words(notice, locale);
    written.lines().next().unwrap_or_default().to_owned()
}

/// Where the customer changes the card and the preferences.
pub(super) fn manage_url(base: &Url, notice: &Notice) -> String {
    let mut url = base.clone();
    if let Some(subscription) = notice.subscription {
        url.query_pairs_mut()
            .append_pair("subscription", &subscription.to_string());
    }
    url.into()
}

fn words(notice: &Notice, locale: Locale) -> String {
    let told = told(&notice.facts, locale);
    match locale {
        Locale::ZhTw => rendered(&WordsZhTw::new(notice.kind, &told)),
        Locale::En => rendered(&WordsEn::new(notice.kind, &told)),
    }
}

/// Writing into a String does not fail, and no template calls anything that could.
fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

fn told(facts: &NoticeFacts, locale: Locale) -> Told {
    let on = |at: Option<Timestamp>| at.and_then(|at| date(at, locale));
    let until = |end: Option<Timestamp>| end.and_then(|end| last_day(end, locale));
    Told {
        plan: facts.plan_name.clone(),
        amount: facts.money.map(amount),
        period: period(facts, locale),
        next_charge_on: on(facts.next_charge_at),
        retry_on: on(facts.next_retry_at),
        grace_ends_on: until(facts.grace_period_ends_at),
        access_until_on: until(facts.access_until),
        reason: facts
            .decline
            .map(|decline| details::decline(decline, locale).to_owned())
            .or_else(|| facts.reason.clone()),
    }
}

fn period(facts: &NoticeFacts, locale: Locale) -> Option<String> {
    let number = facts.period_number?;
    Some(match (facts.period_total, locale) {
        (None, Locale::ZhTw) => format!("第 {number} 期"),
        (Some(total), Locale::ZhTw) => format!("第 {number} 期（共 {total} 期）"),
        (None, Locale::En) => number.to_string(),
        (Some(total), Locale::En) => format!("{number} of {total}"),
    })
}

/// The day in Taiwan.
fn date(at: Timestamp, locale: Locale) -> Option<String> {
    match locale {
        Locale::ZhTw => at.to_taipei("%Y年%-m月%-d日"),
        Locale::En => at.to_taipei("%-d %B %Y"),
    }
}

/// The last day in Taiwan of what ends: an end is the first instant that is not part of it any more, which of paid time
/// is the midnight after its last day.
fn last_day(end: Timestamp, locale: Locale) -> Option<String> {
    date(Timestamp::from_unix_ms(end.unix_ms().saturating_sub(1)), locale)
}

/// `NT$1,234`: whole dollars, thousands apart.
fn amount(money: Money) -> String {
    let minor = money.amount_minor.get();
    let sign = if minor < 0 { "-" } else { "" };
    let digits = minor.unsigned_abs().to_string();
    let mut apart = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(index);
        if index > 0 && left.is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    format!("{sign}NT${apart}")
}

const fn colour(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Low => "#1d4ed8",
        Urgency::Medium => "#b45309",
        Urgency::High => "#c2410c",
        Urgency::Urgent => "#b91c1c",
    }
}

#[cfg(test)]
mod tests;
