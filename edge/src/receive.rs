//! Step 1, receive: what a request is, whether it may come now, and its bytes.
//!
//! route → **receive** → verify. Cheapest refusal first: declared length, then the address limit, then the body,
//! counted while it is read.
//!
//! Invariant: no more than the cap is ever held in memory, and the body is handed on byte for byte: signatures
//! are checked over it. Not here: what the bytes mean. Failure: 413, 429, 503, or 400 when the caller hung up.

use tollgate_shared::id::DeliveryId;
use tollgate_shared::problem::Problem;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;
use worker::Env;

use crate::answer::{self, Answer};
use crate::limit;
use crate::port::{self, Request};
use crate::task;

/// Cap of a provider's notice. The largest known (ECPay, all extra fields) is below 4 KiB.
pub(crate) const WEBHOOK_BYTES_MAX: u32 = 64 * 1024;
/// Cap of a browser's call.
pub(crate) const BROWSER_BYTES_MAX: u32 = 16 * 1024;
/// The binding counts in windows of 60 s (wrangler.toml) and tells no rest of it.
const LIMITED_SECONDS: u64 = 60;

/// What is known of a request before its body: read in one crossing (`port::head`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// When it came.
    pub(crate) received_at: Timestamp,
    /// Follows this delivery through every log to the ledger entry.
    pub(crate) delivery: DeliveryId,
    /// As sent.
    pub(crate) method: &'a str,
    /// As sent; empty if absent.
    content_length: &'a str,
    /// The caller, as Cloudflare saw it; empty elsewhere.
    address: &'a str,
    /// The path, without query.
    pub(crate) path: &'a str,
    /// Whether there was a query; what it said is nobody's business here.
    pub(crate) has_query: bool,
}

impl<'a> Head<'a> {
    /// Reads `port::head`'s lines: time, random UUID, method, length, address, URL.
    pub(crate) fn parse(lines: &'a str) -> Option<Self> {
        let mut lines = lines.splitn(6, '\n');
        let received_at_ms: i64 = lines.next()?.parse().ok()?;
        let delivery = delivery_id(received_at_ms, lines.next()?)?;
        let (method, content_length, address) = (lines.next()?, lines.next()?, lines.next()?);
        let url = lines.next()?;
        Some(Self {
            received_at: Timestamp::from_unix_ms(received_at_ms),
            delivery,
            method,
            content_length,
            address,
            path: path_of(url),
            has_query: url.contains('?'),
        })
    }

    fn declares_more_than(&self, max: u32) -> bool {
        // A length that is no number is as good as too large: nothing honest sends it.
        let declared = self.content_length.parse::<u32>();
        !self.content_length.is_empty() && declared.map_or(true, |length| length > max)
    }
}

/// A `UUIDv7` of the time of receipt and the random bits of a version 4 UUID: the platform's `randomUUID` is one
/// call of the runtime and needs no random source compiled into the wasm.
fn delivery_id(unix_ms: i64, random: &str) -> Option<DeliveryId> {
    let random = Uuid::try_parse(random).ok()?;
    // Bits 48 to 51 and 64 to 65 are fixed in version 4. The ten bytes from the sixth on hold both, and the
    // builder fixes the same bits again, so every other bit stays random.
    let random: [u8; 10] = *random.as_bytes().last_chunk()?;
    let millis = u64::try_from(unix_ms).ok()?;
    Some(DeliveryId::from_uuid(
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid(),
    ))
}

fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme
        .find('/')
        .and_then(|at| after_scheme.get(at..))
        .unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

/// Which callers a route has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Providers: pass when the limiter fails.
    Providers,
    /// Browsers that write: refused when the limiter fails.
    Writers,
    /// Anybody who reads: passes when the limiter fails.
    Readers,
}

impl Callers {
    const fn group(self) -> &'static str {
        match self {
            Self::Providers => "webhook",
            Self::Writers => "browser",
            Self::Readers => "read",
        }
    }

    const fn bytes_max(self) -> u32 {
        match self {
            Self::Providers => WEBHOOK_BYTES_MAX,
            Self::Writers | Self::Readers => BROWSER_BYTES_MAX,
        }
    }
}

/// The body, if the request may come now.
pub(crate) async fn body(
    request: &Request,
    env: &Env,
    head: &Head<'_>,
    callers: Callers,
) -> Result<Vec<u8>, Answer> {
    let max = callers.bytes_max();
    if head.declares_more_than(max) {
        return Err(answer::too_large(max));
    }
    let key = limit::key(callers.group(), head.address);
    let open = callers != Callers::Writers;
    match task::wait(port::receive(request, env, &key, open, max)).await {
        Ok(body) => Ok(port::bytes(&body)),
        Err(thrown) => Err(refusal(port::status_of(&thrown), max)),
    }
}

fn refusal(status: Option<i64>, max: u32) -> Answer {
    match status {
        Some(413) => answer::too_large(max),
        Some(429) => answer::limited(LIMITED_SECONDS),
        Some(_) => answer::unavailable("limiter-unavailable", "Requests cannot be counted now"),
        None => Answer::problem(&Problem::new(400, "incomplete-body", "The body ended early")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, refusal};

    const LINES: &str = "1573840000000\n0b1e9a52-5f9e-4c0f-9d0e-2f1a3b4c5d6e\nPOST\n421\n203.0.113.9\nhttps://pay.example/api/webhooks/ecpay/payment?x=/y";

    #[test]
    fn op_2_a_head_gives_a_delivery_id_of_its_time() {
        let head = Head::parse(LINES).unwrap();
        assert_eq!((head.method, head.path), ("POST", "/api/webhooks/ecpay/payment"));
        assert!(head.has_query);
        assert!(!Head::parse(&LINES.replace("?x=/y", "")).unwrap().has_query);
        let delivery = head.delivery.as_uuid();
        assert_eq!(delivery.get_version_num(), 7);
        assert_eq!(delivery.get_timestamp().unwrap().to_unix().0, 1_573_840_000);
    }

    #[test]
    fn a_declared_length_is_believed_only_to_refuse() {
        for (length, refused) in [
            ("", false),
            ("0", false),
            ("65536", false),
            ("65537", true),
            ("-1", true),
            ("1e3", true),
        ] {
            let lines = LINES.replace("\n421\n", &format!("\n{length}\n"));
            assert_eq!(
                Head::parse(&lines).unwrap().declares_more_than(65_536),
                refused,
                "{length:?}"
            );
        }
    }

    #[test]
    fn paths_have_no_query_and_a_broken_head_is_none() {
        for (url, path) in [
            ("http://a/b?c", "/b"),
            ("http://a", "/"),
            ("http://a/b#c", "/b"),
            ("/b", "/b"),
        ] {
            assert_eq!(super::path_of(url), path);
        }
        assert_eq!(Head::parse("now\n\nGET\n\n\nhttp://a/"), None);
    }

    #[test]
    fn ed_2_each_refusal_of_the_glue_has_its_status() {
        let statuses = [Some(413), Some(429), Some(503), None].map(|thrown| refusal(thrown, 1).status);
        assert_eq!(statuses, [413, 429, 503, 400]);
    }
}
