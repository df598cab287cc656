//! Steps 2 and 3, verify and normalise: what a delivery says, if it is genuine.
//!
//! receive → **verify → normalise** → forward. Both happen inside `Sources::read` of `shared`, which the origin
//! runs again on the same bytes; this file only finds the source and the headers that it signs over.
//!
//! Invariant (ED-1): an `Event` leaves here only by way of a provider's `Verified`. A source that is unknown
//! is 404, one that is not configured 503 (fail closed), and a refusal's words come from `shared::Refusal`.
//! Nothing is written for a delivery that is refused. Not here: what an event does.

use tollgate_shared::event::Event;
use tollgate_shared::id::SourceId;
use tollgate_shared::provider::{Acknowledgement, Refusal, SIGNED_HEADERS, Unverified};

use crate::answer::Answer;
use crate::config::Settings;
use crate::route::Named;

/// A genuine delivery.
pub(crate) struct Genuine {
    /// What it says.
    pub(crate) event: Event,
    /// What its source wants to hear.
    pub(crate) acknowledgement: Acknowledgement,
}

/// The source of a route; PM-4 gives the default provider a path of its own.
pub(crate) fn source(settings: &Settings, named: Named<'_>) -> Result<SourceId, Refusal> {
    match named {
        Named::Source(name) => name.parse().map_err(|_| Refusal::UnknownSource),
        Named::Default => settings
            .sources
            .default_provider()
            .cloned()
            .ok_or(Refusal::NotConfigured),
    }
}

/// Whether a source signs over headers: the two Taiwanese providers sign inside the body.
pub(crate) fn signs_headers(source: &SourceId) -> bool {
    !matches!(source.as_str(), "ecpay" | "payuni")
}

/// Pairs the header values of `port::headers` with their names; absent ones are left out.
pub(crate) fn signed_headers(values: &str) -> Vec<(String, String)> {
    let pairs = SIGNED_HEADERS
        .iter()
        .zip(values.split('\n'))
        .filter(|(_, value)| !value.is_empty());
    pairs
        .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
        .collect()
}

/// Verify, then normalise.
pub(crate) fn read(
    settings: &Settings,
    source: &SourceId,
    unverified: &Unverified<'_>,
) -> Result<Genuine, Answer> {
    let refused = |refusal: Refusal| Answer::problem(&refusal.problem());
    let event = settings.sources.read(source, unverified).map_err(refused)?;
    let acknowledgement = settings.sources.acknowledgement(source).map_err(refused)?;
    Ok(Genuine {
        event,
        acknowledgement,
    })
}

#[cfg(test)]
mod tests {
    use super::{signed_headers, source};
    use crate::config::tests::settings_of;
    use crate::route::Named;
    use tollgate_shared::provider::Refusal;

    #[test]
    fn ed_1_an_unnamed_source_is_refused() {
        let settings = settings_of(
            "PAYMENT_PROVIDER=ecpay\nECPAY_MERCHANT_ID=3002607\nECPAY_HASH_KEY=pwFHCqoQZGmho4w6\nECPAY_HASH_IV=EkRm7iFT261dpevs",
        );
        assert_eq!(source(&settings, Named::Default).unwrap().as_str(), "ecpay");
        assert_eq!(
            source(&settings, Named::Source("ECPay")).unwrap_err(),
            Refusal::UnknownSource
        );
        assert_eq!(
            source(&settings_of(""), Named::Default).unwrap_err(),
            Refusal::NotConfigured
        );
    }

    #[test]
    fn absent_headers_are_left_out() {
        let headers = signed_headers("msg_1\n1573840000\n\n");
        assert_eq!(headers.len(), 2);
        assert_eq!(
            headers[1],
            ("webhook-timestamp".to_owned(), "1573840000".to_owned())
        );
    }
}
