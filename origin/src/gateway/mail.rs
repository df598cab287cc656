//! Mail to customers, handed to the configured SMTP server.
//!
//! `work::outbox::mail` → **send** → `SMTP_URL`.
//!
//! Invariants: one conversation a mail, with a time limit shorter than the lease. The `Message-ID` is made of the outbox
//! row's id and so is the same over all attempts: where a server took the mail and its answer was lost, the second copy can
//! be known by it. A server's words may quote the address, so of an answer only its codes are kept (DESIGN.md, 8).
//! Not here: who the address belongs to, when to try again.

use std::time::{Duration, SystemTime};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, AsyncSmtpTransport};
use lettre::{Address, AsyncTransport as _, Message, Tokio1Executor};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::config::MailConfig;
use crate::notices::mail::Letter;

/// The whole conversation. RFC 5321 would wait for minutes; the lease is a minute, and there is a next attempt.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Refusals that are about this mailbox (RFC 3463 §3.2, §3.3; RFC 7505 §4.2). Any other 5xx may be about us or about the
/// server: a setting that is mended within a day saves the mail.
const MAILBOX_REFUSALS: [&str; 6] = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"];
/// Answers that refuse our login (RFC 4954 §6), which says nothing about this mail.
const LOGIN_CODES: [u16; 4] = [530, 534, 535, 538];

/// Why a mail did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MailError {
    /// No server is configured (any more).
    #[error("no mail server is configured")]
    NotConfigured,
    /// The server will never take mail for this mailbox.
    #[error("the mail server refused it for good: {0}")]
    Refused(String),
    /// The server takes no such mail from us, or none at all: its settings, or ours.
    #[error("the mail server refused it: {0}")]
    Rejected(String),
    /// The server does not take it now.
    #[error("the mail server put it off: {0}")]
    Deferred(String),
    /// The server does not let us in.
    #[error("the mail server refused our login: {0}")]
    Login(String),
    /// No conversation, or a broken one.
    #[error("the mail server did not answer: {0}")]
    NoAnswer(&'static str),
    /// The parts make no message: a defect of ours.
    #[error("the mail cannot be put together")]
    Unwritable,
}

impl MailError {
    /// Whether a later attempt cannot succeed either.
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unwritable => true,
            Self::NotConfigured
            | Self::Rejected(_)
            | Self::Deferred(_)
            | Self::Login(_)
            | Self::NoAnswer(_) => false,
        }
    }
}

/// The client of the mail server.
#[derive(Debug)]
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// A client of a configuration; connects to nothing yet.
    pub(crate) fn new(config: &MailConfig) -> Result<Self, MailError> {
        let domain = config.from.email.domain().to_owned();
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(config.smtp_url.expose())
            .map_err(|_| MailError::NoAnswer("TLS cannot be set up"))?;
        let transport = builder
            .hello_name(ClientId::Domain(domain))
            .timeout(Some(TIME_MAX))
            .build();
        Ok(Self {
            transport,
            from: config.from.clone(),
        })
    }

    /// Sends one mail; success is the server's 250 after the data.
    pub(crate) async fn send(
        &self,
        id: Uuid,
        to: Address,
        letter: &Letter,
        now: Timestamp,
    ) -> Result<(), MailError> {
        let message = self.message(id, to, letter, now).ok_or(MailError::Unwritable)?;
        match tokio::time::timeout(TIME_MAX, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(read(&error)),
            Err(_) => Err(MailError::NoAnswer("time is up")),
        }
    }

    fn message(&self, id: Uuid, to: Address, letter: &Letter, now: Timestamp) -> Option<Message> {
        let domain = self.from.email.domain();
        let sent_at = Duration::from_millis(u64::try_from(now.unix_ms()).ok()?);
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&letter.subject)
            .date(SystemTime::UNIX_EPOCH.checked_add(sent_at)?)
            .message_id(Some(format!("<{}@{domain}>", id.simple())))
            .raw_header(raw("Auto-Submitted", "auto-generated".to_owned()));
        if let Some(url) = &letter.unsubscribe_url {
            message = message.raw_header(raw("List-Unsubscribe", format!("<{url}>")));
        }
        if letter.important {
            message = message.raw_header(raw("Importance", "high".to_owned()));
        }
        let parts = MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone());
        message.multipart(parts).ok()
    }
}

fn raw(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

fn read(error: &smtp::Error) -> MailError {
    let Some(status) = error.status() else {
        return MailError::NoAnswer(kind(error));
    };
    let code = u16::from(status);
    let enhanced = enhanced(error);
    let told = match &enhanced {
        Some(enhanced) => format!("{code} {enhanced}"),
        None => code.to_string(),
    };
    if LOGIN_CODES.contains(&code) {
        MailError::Login(told)
    } else if enhanced.is_some_and(|enhanced| MAILBOX_REFUSALS.contains(&enhanced.as_str())) {
        MailError::Refused(told)
    } else if error.is_permanent() {
        MailError::Rejected(told)
    } else {
        MailError::Deferred(told)
    }
}

fn kind(error: &smtp::Error) -> &'static str {
    if error.is_timeout() {
        "time is up"
    } else if error.is_tls() {
        "TLS failed"
    } else if error.is_response() {
        "no whole SMTP answer"
    } else if error.is_client() {
        "it cannot do what we need"
    } else {
        "no connection, or it broke"
    }
}

/// The enhanced code (RFC 3463) where the server's words begin with it: `5.1.1`.
fn enhanced(error: &smtp::Error) -> Option<String> {
    let words = std::error::Error::source(error)?.to_string();
    let first = words.split_whitespace().next();
    first.filter(|word| is_enhanced(word)).map(ToOwned::to_owned)
}

fn is_enhanced(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let is_number = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(is_number)
}
