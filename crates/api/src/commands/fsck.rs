use super::Failed;
pub fn run(_: &crate::cli::Fsck) -> Result<(), Failed> {
    Ok(())
}
