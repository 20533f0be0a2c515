//! A tool's notice, shown to the person at this terminal and remembered.

use std::io;
use std::time::Duration;

use telemetry_client::Notice;
use telemetry_client::notice::Kept;

use crate::Context;
use crate::clock;
use crate::screen::Screen;
use crate::words::plain;

/// Shows it, and says so to whoever remembers, within `patience`.
///
/// # Errors
/// Nobody does: it will be shown again.
pub(crate) fn show(
    notice: &Notice,
    context: &Context,
    screen: &Screen,
    patience: Duration,
) -> io::Result<Kept> {
    for line in notice.text.lines() {
        screen.talk(&plain(line));
    }
    for wider in &notice.wider {
        screen.talk(&format!("  {}", plain(wider)));
    }
    notice.was_shown(&context.surroundings, clock::after(patience))
}
