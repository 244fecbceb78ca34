//! TODO
use crate::Outcome;
/// Run
pub fn run() -> Outcome {
    Ok(0)
}
