//! Settings of notices: the mail server, who the mail is from, where customers manage, and who gets the events.
//!
//! `config` → **these settings** → `notices::enqueue` (whether there is mail), `gateway::mail` (how it leaves).
//!
//! Invariants: a part of what belongs together is a fault that names what is missing. A login goes over TLS, unless the
//! server is this machine: a password in the clear is everybody's on the way. Failure: faults of the reader.

use lettre::message::Mailbox;
use reqwest::Url;
use tollgate_shared::config::Reader;
use tollgate_shared::secret::Secret;

use super::{Receiver, receiver, required_url};

const MAIL_SETTINGS: [&str; 3] = ["SMTP_URL", "MAIL_FROM", "MANAGE_URL"];

/// Where notices go.
#[derive(Debug, Clone)]
pub struct NoticesConfig {
    /// How mail leaves; `None`: it does not.
    pub mail: Option<MailConfig>,
    /// Who gets `subscription.*` events; `None`: nobody.
    pub subscription_events: Option<Receiver>,
}

/// How mail leaves.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// The server, and how to log in: `smtps://`, or `smtp://` with `?tls=required` or without TLS.
    pub smtp_url: Secret,
    /// The sender that customers see.
    pub from: Mailbox,
    /// The page where customers change the card and what they are told.
    pub manage_url: Url,
}

/// Reads them.
pub(super) fn notices(reader: &mut Reader<'_>) -> NoticesConfig {
    NoticesConfig {
        mail: mail(reader),
        subscription_events: receiver(reader, "SUBSCRIPTION_WEBHOOK_URL", "SUBSCRIPTION_WEBHOOK_SECRET"),
    }
}

/// All three settings, or none.
fn mail(reader: &mut Reader<'_>) -> Option<MailConfig> {
    let is_set = |name: &&str| reader.optional(name).is_some();
    let missing: Vec<&str> = MAIL_SETTINGS.into_iter().filter(|name| !is_set(name)).collect();
    if missing.len() == MAIL_SETTINGS.len() {
        return None;
    }
    for name in &missing {
        reader.fault(name, "is not set, though another setting of mail is");
    }
    let smtp_url = reader
        .optional("SMTP_URL")
        .and_then(|text| smtp_url(reader, text));
    let from = reader.optional("MAIL_FROM").and_then(|text| from(reader, &text));
    let manage_url = reader
        .optional("MANAGE_URL")
        .and_then(|_| required_url(reader, "MANAGE_URL"));
    Some(MailConfig {
        smtp_url: smtp_url?,
        from: from?,
        manage_url: manage_url?,
    })
}

fn smtp_url(reader: &mut Reader<'_>, text: String) -> Option<Secret> {
    let fault = match Url::parse(&text) {
        Ok(url) => smtp_fault(&url),
        Err(_) => Some("must be smtp:// or smtps://, with user:password@ where the server wants a login"),
    };
    if let Some(fault) = fault {
        reader.fault("SMTP_URL", fault);
        return None;
    }
    Some(Secret::new(text))
}

fn smtp_fault(url: &Url) -> Option<&'static str> {
    let is_tls = url.scheme() == "smtps" || url.query() == Some("tls=required");
    let has_login = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "smtp" | "smtps") || url.host_str().is_none_or(str::is_empty) {
        return Some("must be smtp:// or smtps:// and a host");
    }
    if !matches!(url.query(), None | Some("tls=required")) || url.fragment().is_some() || url.path().len() > 1
    {
        return Some("may have ?tls=required (STARTTLS) and nothing else after the port");
    }
    if has_login && (url.username().is_empty() || url.password().is_none_or(str::is_empty)) {
        return Some("has half a login: user:password@");
    }
    if has_login && !is_tls && !is_this_machine(url) {
        return Some("has a login, so it must be smtps:// or end in ?tls=required");
    }
    None
}

fn is_this_machine(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn from(reader: &mut Reader<'_>, text: &str) -> Option<Mailbox> {
    let mailbox = text
        .parse::<Mailbox>()
        .ok()
        .filter(|mailbox| mailbox.email.to_string().is_ascii());
    if mailbox.is_none() {
        reader.fault(
            "MAIL_FROM",
            "must be an address, such as Tollgate <billing@example.tw>",
        );
    }
    mailbox
}

#[cfg(test)]
mod tests {
    use tollgate_shared::config::Reader;

    use super::{MailConfig, mail};

    fn read(settings: &[(&str, &str)]) -> Result<Option<MailConfig>, Vec<String>> {
        let lookup = |name: &str| {
            let found = settings.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut reader = Reader::new(&lookup);
        let mail = mail(&mut reader);
        let faults = reader.finish(Some(()));
        faults
            .map(|()| mail)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    fn with_smtp(url: &str) -> Result<Option<MailConfig>, Vec<String>> {
        read(&[
            ("SMTP_URL", url),
            ("MAIL_FROM", "訂閱服務 <billing@example.tw>"),
            ("MANAGE_URL", "https://app.example.tw/billing"),
        ])
    }

    #[test]
    fn op_1_mail_is_configured_whole_or_not_at_all() {
        assert!(read(&[]).unwrap().is_none());
        assert!(with_smtp("smtps://u:p@mail.example.tw").unwrap().is_some());
        assert_eq!(
            read(&[("SMTP_URL", "smtp://127.0.0.1:25")]).unwrap_err(),
            [
                "MAIL_FROM: is not set, though another setting of mail is",
                "MANAGE_URL: is not set, though another setting of mail is"
            ]
        );
    }

    #[test]
    fn op_1_an_smtp_url_is_refused_before_a_password_travels_in_the_clear() {
        for (url, usable) in [
            ("smtp://127.0.0.1:2525", true),
            ("smtp://mail.example.tw", true),
            ("smtp://u:p@mail.example.tw?tls=required", true),
            ("smtp://u:p@localhost:2525", true),
            ("smtps://u:p%40@mail.example.tw:465", true),
            ("smtp://u:p@mail.example.tw", false),
            ("smtp://u:p@mail.example.tw?tls=opportunistic", false),
            ("smtp://u@mail.example.tw?tls=required", false),
            ("smtps://mail.example.tw/name", false),
            ("https://mail.example.tw", false),
            ("mail.example.tw:25", false),
            ("smtp://", false),
        ] {
            let read = with_smtp(url);
            assert_eq!(read.is_ok(), usable, "{url} {read:?}");
            assert!(!format!("{read:?}").contains("u:p"), "{url}: no value is shown");
        }
    }
}
