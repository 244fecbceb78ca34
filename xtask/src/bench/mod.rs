//! TODO
use crate::Outcome;
/// Args
#[derive(clap::Args)]
pub struct Args {}
/// Run
pub fn run(_: &Args) -> Outcome {
    Ok(0)
}
