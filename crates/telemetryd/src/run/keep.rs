//! What a reload replaces: settings, manifests, the queue's limits, the log's levels; all of them, or nothing.

use std::sync::Arc;

use telemetry_queue::Queue;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::{self, Checked, Loaded};
use crate::consent::Consent;
use crate::control::ReloadRefused;
use crate::world::World;
use crate::{log, notify};

/// What a reload replaces.
pub struct Keep<'a> {
    /// Where settings are read from.
    pub world: &'a World,
    /// Takes manifests and the config anew.
    pub consent: &'a Consent,
    /// Loses what was withdrawn.
    pub queue: &'a Queue,
    /// Told to every room.
    pub settings: &'a watch::Sender<Arc<Checked>>,
    /// Told to control.
    pub loaded: &'a watch::Sender<Arc<Loaded>>,
    /// The log's, where there is one.
    pub level: Option<&'a log::Level>,
}

impl Keep<'_> {
    /// Takes new settings if they are good, and tells the service manager. Returns how many rows were withdrawn.
    ///
    /// # Errors
    /// What is wrong with them: the old ones stay.
    pub async fn reload(&self) -> Result<u64, ReloadRefused> {
        notify::reloading();
        let taken = self.take().await;
        notify::reloaded(taken.is_ok());
        taken
    }

    /// Puts the destinations of the manifests in force beside those of the config.
    pub fn destinations(&self) {
        let all = config::with_inline(&self.loaded.borrow().checked, &self.consent.manifests());
        config::replace(self.settings, all);
    }

    /// Takes new settings if they are good; the old ones stay if not. Returns how many rows were withdrawn.
    async fn take(&self) -> Result<u64, ReloadRefused> {
        let loaded = config::load(&self.world.places, &self.world.flags, &self.world.environment)
            .map_err(ReloadRefused::Settings)?;
        let checked = Arc::new(loaded.checked.clone());
        self.consent.reload(&checked).map_err(ReloadRefused::Manifests)?;
        let limits = checked.queue;
        if let Some(level) = self.level {
            level.set(&checked.daemon.log);
        }
        // Though they read the same: what held a destination may have been mended in a file that they name.
        let all = config::with_inline(&loaded.checked, &self.consent.manifests());
        self.loaded.send_replace(Arc::new(loaded));
        self.settings.send_replace(Arc::new(all));
        // The first that is waited for: who asked is told the number, which `withdrawals` would only write into the log.
        // The flushers take the settings meanwhile.
        let policies = Arc::clone(&self.consent.changes().borrow());
        let now = self.world.clock.now();
        let purged = crate::control::purge_withdrawn(self.queue, self.consent, &policies, now).await;
        if let Err(error) = self.queue.set_limits(limits).await {
            warn!(%error, "cannot change the queue's limits");
        }
        info!("reloaded");
        // What failed here is tried again by `withdrawals`.
        Ok(purged.map_or(0, |purged| purged.queued + purged.parked))
    }
}
