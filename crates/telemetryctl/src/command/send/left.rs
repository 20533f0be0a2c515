//! What nobody took: it waits in the user's spool where it may, as a library's event does (docs/spool.md).

use serde_json::{Map, Value};
use telemetry_client::{Client, Unheard};

use super::Sender;
use super::line::Ready;
use crate::failure::Failure;
use crate::screen::Screen;

/// As many as a spool holds: beyond these a pipe's events are not tried any more.
const MOST: u64 = 1_000;

impl Sender<'_> {
    /// Whether a daemon did not answer a moment ago: then nobody waits for it again.
    pub(super) fn wedged(&self, event: &Ready) -> bool {
        self.client(event).wedged()
    }

    /// Keeps what may wait of these events; the rest is lost, and that is told.
    pub(super) fn leave(
        &mut self,
        events: &[Ready],
        why: Unheard,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        for event in events {
            let line: Option<Map<String, Value>> = serde_json::from_str(&event.line).ok();
            let room = self.tally.untaken() < MOST;
            match line.filter(|line| room && self.client(event).leave(line, why)) {
                Some(_) => self.tally.kept(event, screen)?,
                None => self.tally.unrecorded(event, screen)?,
            }
        }
        Ok(())
    }

    fn client(&self, event: &Ready) -> Client {
        let client = Client::named(&event.tool).in_surroundings(self.context.surroundings.clone());
        match event.directory().as_ref().or(self.project.as_ref()) {
            Some(directory) => client.project_dir(directory),
            None => client,
        }
    }
}
