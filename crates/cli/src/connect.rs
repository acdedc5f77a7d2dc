//! (being written)
use crate::error::CliError;
/// x
#[derive(clap::Args, Debug)]
pub struct ConnectArgs {}
pub fn run(_args: ConnectArgs) -> Result<std::process::ExitCode, CliError> { Err(CliError::failed("not yet")) }
