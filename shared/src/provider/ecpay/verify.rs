//! stub
use crate::provider::{Refusal, Unverified};
/// stub
#[derive(Debug)]
pub struct Verified {}
pub(super) fn verify(
    _: &crate::secret::Rotating<super::EcpayKeys>,
    _: &Unverified<'_>,
) -> Result<Verified, Refusal> {
    Err(Refusal::NotConfigured)
}
