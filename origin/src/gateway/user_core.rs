//! Messages for user-core, the generator and the receiver of subscription events, signed as Standard Webhooks (PM-6,
//! TB-7, EC-8).
//!
//! `work::outbox` → **send** → `USER_CORE_WEBHOOK_URL`, `GENERATOR_WEBHOOK_URL`, `SUBSCRIPTION_WEBHOOK_URL`.
//!
//! Invariants: the signature covers the bytes that are sent; `webhook-id` is the event's id and stays the same over
//! all attempts, so that the receiver can drop repeats; the timestamp is that of the attempt. The receiver's body is
//! not read: it is nobody's business and may be endless. Not here: when to try again.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use tollgate_shared::crypto;
use tollgate_shared::secret::Secret;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::config::Receiver;

/// Standard Webhooks recommends 15 to 30 s.
const TIME_MAX: Duration = Duration::from_secs(15);

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No receiver is configured (any more).
    #[error("no receiver is configured for events of this kind")]
    NotConfigured,
    /// The receiver says that it wants no more (Standard Webhooks: 410 disables).
    #[error("the receiver answered 410 Gone")]
    Gone,
    /// Another answer than 2xx.
    #[error("the receiver answered {0}")]
    Status(u16),
    /// No answer in time, or none at all.
    #[error("the receiver did not answer: {0}")]
    NoAnswer(&'static str),
}

/// The client of all sends.
#[derive(Debug, Clone)]
pub(crate) struct Client(reqwest::Client);

impl Client {
    /// A client with our limits.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("tollgate")
            .build()?;
        Ok(Self(client))
    }

    /// Sends one event; success is any 2xx.
    pub(crate) async fn send(
        &self,
        receiver: &Receiver,
        id: Uuid,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), SendError> {
        let message_id = format!("evt_{}", id.simple());
        let answer = self.post(receiver, &message_id, body, now).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(SendError::Gone),
            status => Err(SendError::Status(status.as_u16())),
        }
    }

    /// The client underneath, for calls that are no Standard Webhooks (`provider`).
    pub(super) const fn http(&self) -> &reqwest::Client {
        &self.0
    }

    /// Posts one signed message and gives the answer, whatever it is.
    pub(super) async fn post(
        &self,
        receiver: &Receiver,
        message_id: &str,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<reqwest::Response, SendError> {
        let timestamp = now.unix_seconds().to_string();
        let signature = sign(receiver, message_id, &timestamp, &body);
        let request = self
            .0
            .post(receiver.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", message_id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body);
        request
            .send()
            .await
            .map_err(|error| SendError::NoAnswer(kind(&error)))
    }
}

/// reqwest's own text holds the URL, which may hold a token; the kind is enough.
pub(super) fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "time is up"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the call failed"
    }
}

/// A signature under each secret that is in use, the current one first: Standard Webhooks divides them by a space, and a
/// receiver takes the message if one of them is right.
fn sign(receiver: &Receiver, message_id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut signed = format!("{message_id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let keys = [Some(&receiver.key_base64), receiver.key_base64_previous.as_ref()];
    let signatures: Vec<String> = keys
        .into_iter()
        .flatten()
        .map(|key| signature(key, &signed))
        .collect();
    signatures.join(" ")
}

/// `v1,` and the base64 of HMAC-SHA256 under the decoded secret.
fn signature(key_base64: &Secret, signed: &[u8]) -> String {
    // `config` refuses a secret that does not decode.
    let key = STANDARD.decode(key_base64.expose()).unwrap_or_default();
    format!("v1,{}", STANDARD.encode(crypto::hmac_sha256(&key, signed)))
}

#[cfg(test)]
mod tests {
    use tollgate_shared::secret::Secret;

    use super::sign;
    use crate::config::Receiver;

    #[test]
    fn pm_6_the_signature_is_that_of_standard_webhooks() {
        // The vector of the specification's own libraries (JavaScript, Python).
        let receiver = Receiver {
            url: "http://127.0.0.1:1".parse().unwrap(),
            key_base64: Secret::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()),
            key_base64_previous: None,
        };
        let signature = sign(
            &receiver,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn ec_8_while_a_rotation_lasts_both_secrets_sign_and_the_new_one_is_first() {
        let with = |current: &str, previous: Option<&str>| {
            let receiver = Receiver {
                url: "http://127.0.0.1:1".parse().unwrap(),
                key_base64: Secret::new(current.to_owned()),
                key_base64_previous: previous.map(|key| Secret::new(key.to_owned())),
            };
            sign(&receiver, "evt_1", "1614265330", b"{}")
        };
        let (new, old) = (
            "bmV3IHNlY3JldCBvZiB0aGUgcmVjZWl2ZXI=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        );
        assert_ne!(with(new, None), with(old, None));
        assert_eq!(
            with(new, Some(old)),
            format!("{} {}", with(new, None), with(old, None))
        );
    }
}
