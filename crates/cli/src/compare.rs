//! (being written)
use crate::error::CliError;
/// x
#[derive(clap::Args, Debug)]
pub struct CompareArgs {}
pub fn run(_args: CompareArgs) -> Result<std::process::ExitCode, CliError> { Err(CliError::failed("not yet")) }
