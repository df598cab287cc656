//! stub
pub(super) fn normalise(
    _: &crate::id::SourceId,
    _: &super::Verified,
) -> Result<crate::event::Event, crate::provider::Refusal> {
    Err(crate::provider::Refusal::NotConfigured)
}
