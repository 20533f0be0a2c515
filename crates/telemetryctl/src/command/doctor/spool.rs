//! What this user's clients left while no daemon ran (docs/spool.md), as it lies there now. What a daemon has taken over and
//! found lost, it says itself.

use super::{Check, State};
use crate::Context;
use crate::command::consent::spool::Left;

pub(super) fn check(context: &Context) -> Option<Check> {
    let told = Left::seen(context).told()?;
    let hint = "the user's daemon takes over what waits: 'telemetryctl service install' has one there from the start";
    Some(Check::new("spool", State::Warn, told).hint(hint))
}
