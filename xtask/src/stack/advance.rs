//! Moving a running stack's clock: as far as wished, through everything that falls due on the way.
//!
//! `cargo xtask clock`, a story → **`advance`** → the origin's signed route, which moves the sandbox along and waits for the edge.
//!
//! Invariant: the hop is signed with the machine's time, which is the edge's too: only business time moves. When the call
//! returns, nothing is left to do. Not here: what falls due (`origin::test_clock`).
//! Failure: an error that quotes the origin's answer; the clock stays where it stopped.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tollgate_shared::handoff::{self, HandoffKey};
use tollgate_shared::secret::Secret;

use super::settings::Keys;
use crate::clock;

const PATH: &str = "/internal/v1/test-clock/advance";
/// A year of hourly jobs takes a minute or two; the limit is for what hangs.
const LIMIT: Duration = Duration::from_mins(30);

/// Where a stack's origin listens, and what signs the hop to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    origin: String,
    handoff_key_id: String,
    handoff_key: String,
}

/// How far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// By a span of whole seconds.
    By(Duration),
    /// To an instant such as `2027-01-31T16:00:00Z`.
    To(String),
}

impl Reach {
    /// Of an origin and the keys that it was told.
    #[must_use]
    pub fn new(origin: String, keys: &Keys) -> Self {
        Self {
            origin,
            handoff_key_id: keys.handoff_id.clone(),
            handoff_key: keys.handoff.clone(),
        }
    }

    /// Keeps it for other commands; the key is of one run and opens a local stack only.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string(self).context("write down how to reach the origin")?;
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
    }

    /// Reads what `write` kept.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("read {}; is `cargo xtask dev` running?", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("read {}", file.display()))
    }

    /// Moves the clock; what the origin says: `{"now", "steps", "ran"}`.
    pub async fn advance(&self, wish: &Wish) -> Result<Value> {
        let body = wish.body().to_string();
        let answer = self
            .signed(body)?
            .send()
            .await
            .with_context(|| format!("ask the origin at {}", self.origin))?;
        let status = answer.status();
        let text = answer.text().await.context("read the origin's answer")?;
        ensure!(status.is_success(), "the clock was not moved ({status}): {text}");
        serde_json::from_str(&text).with_context(|| format!("read the origin's answer: {text}"))
    }

    fn signed(&self, body: String) -> Result<reqwest::RequestBuilder> {
        let (timestamp, delivery) = (clock::unix_seconds().to_string(), random_uuid()?);
        let key = HandoffKey {
            id: self.handoff_key_id.clone(),
            secret: Secret::new(self.handoff_key.clone()),
        };
        let signature = handoff::sign(
            &key,
            &handoff::Request {
                method: "POST",
                path_and_query: PATH,
                timestamp: &timestamp,
                delivery: &delivery,
                subject: "",
                body: body.as_bytes(),
            },
        );
        let http = reqwest::Client::builder().timeout(LIMIT).build();
        let request = http.context("build an HTTP client")?;
        Ok(request
            .post(format!("{}{PATH}", self.origin))
            .header(handoff::KEY_ID_HEADER, &self.handoff_key_id)
            .header(handoff::TIMESTAMP_HEADER, timestamp)
            .header(handoff::DELIVERY_HEADER, delivery)
            .header(handoff::SUBJECT_HEADER, "")
            .header(handoff::SIGNATURE_HEADER, signature)
            .header("content-type", "application/json")
            .body(body))
    }
}

impl Wish {
    /// `30d`, `12h`, `90m`, `45s`, or an instant.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('T') {
            return Ok(Self::To(text.to_owned()));
        }
        let unit_seconds = match text.chars().last() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(EXPECTED.to_owned()),
        };
        let number = text.strip_suffix(['d', 'h', 'm', 's']).unwrap_or_default();
        let number: u32 = number.parse().map_err(|_| EXPECTED.to_owned())?;
        Ok(Self::By(Duration::from_secs(
            u64::from(number).saturating_mul(unit_seconds),
        )))
    }

    fn body(&self) -> Value {
        match self {
            Self::By(span) => json!({ "advanceSeconds": span.as_secs() }),
            Self::To(instant) => json!({ "to": instant }),
        }
    }
}

const EXPECTED: &str =
    "must be a span such as 30d, 12h, 90m, 45s, or an instant such as 2027-01-31T16:00:00Z";

fn random_uuid() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).context("ask the system for randomness")?;
    let digits = hex::encode(bytes);
    let parts =
        [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part).unwrap_or_default().to_owned());
    Ok(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_a_span_or_an_instant() {
        for (text, seconds) in [
            ("30d", 2_592_000),
            ("12h", 43_200),
            ("90m", 5_400),
            ("45s", 45),
            ("0s", 0),
        ] {
            assert_eq!(Wish::parse(text), Ok(Wish::By(Duration::from_secs(seconds))));
        }
        assert_eq!(
            Wish::parse("2027-01-31T16:00:00Z"),
            Ok(Wish::To("2027-01-31T16:00:00Z".to_owned()))
        );
        for text in ["", "d", "30", "-1d", "1.5h", "30 d", "4294967296d", "tomorrow"] {
            assert!(Wish::parse(text).is_err(), "{text}");
        }
    }
}
