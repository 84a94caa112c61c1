//! (being written)
pub(crate) mod relay;
pub(crate) fn command(_: &[String]) -> Result<(), crate::failure::Failure> {
    Ok(())
}
