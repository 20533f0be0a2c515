//! What follows from a withdrawal, however it came about: rows are erased, and the identity is forgotten (I3).

use std::sync::Arc;
use std::time::Duration;

use telemetry_queue::{ErrorKind, Queue};
use tokio::sync::watch;
use tracing::{error, info};

use crate::clock::Clock;
use crate::consent::{Consent, Policies};
use crate::desk::Identity;

/// Erases what was withdrawn whenever the policy `changes`, however it came about (I3).
pub async fn each(
    mut changes: watch::Receiver<Arc<Policies>>,
    queue: Queue,
    consent: Arc<Consent>,
    identity: Arc<Identity>,
    clock: Arc<dyn Clock>,
) {
    while changes.changed().await.is_ok() {
        let mut said = false;
        loop {
            let policies = Arc::clone(&changes.borrow_and_update());
            match crate::control::purge_withdrawn(&queue, &consent, &policies, clock.now()).await {
                Ok(purged) => {
                    for (person, policy) in policies.people() {
                        identity.withdrawn(person, policy);
                    }
                    if purged.queued + purged.parked > 0 {
                        info!(
                            rows = purged.queued + purged.parked,
                            "consent was withdrawn: rows erased"
                        );
                    }
                    break;
                }
                Err(error) if error.kind == ErrorKind::Closed => return,
                Err(error) if !said => {
                    error!(%error, "cannot erase rows after a withdrawal; they are not sent, and it is tried again");
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(PURGE_AGAIN).await;
        }
    }
}

/// A purge that failed (full disk, I/O error) is tried again after so long.
const PURGE_AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use telemetry_queue::{Append, Lane, NewEvent};

    use super::*;
    use crate::clock::SystemClock;
    use crate::config::{self, Environment, Mode, Places};
    use crate::run::{Purpose, Rooms, open_queue};
    use crate::world::World;

    /// A user's world in this directory, with a tool that may send.
    fn world(home: &std::path::Path) -> World {
        for folder in ["config", "data/telemetryd/tools.d"] {
            std::fs::create_dir_all(home.join(folder)).unwrap();
        }
        let manifest = "name = \"demo\"\nevents = \"any\"\nconsent = \"opt-out\"\n";
        std::fs::write(home.join("data/telemetryd/tools.d/demo.toml"), manifest).unwrap();
        let environment: Environment = [
            ("TELEMETRYD_CONFIG_DIR", home.join("config")),
            ("TELEMETRYD_STATE_DIR", home.join("state")),
            ("TELEMETRYD_MACHINE_DIR", home.join("machine")),
            ("XDG_DATA_HOME", home.join("data")),
        ]
        .into_iter()
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .collect();
        let places = Places::find(Mode::User, &environment, 7, &|_| false).unwrap();
        World {
            socket: places.socket.clone(),
            places,
            flags: config::Flags::default(),
            environment,
            variables: Arc::default(),
            moved: None,
            clock: Arc::new(SystemClock),
            seed: 7,
            uid: 7,
            inherited: None,
            probe: None,
        }
    }

    #[tokio::test]
    async fn what_is_withdrawn_while_the_daemon_starts_is_erased_though_somebody_else_saw_it_first() {
        let home = tempfile::tempdir().unwrap();
        let world = world(home.path());
        let loaded = world.load().unwrap();
        let (queue, owner, _) = open_queue(&world, &loaded.checked, Purpose::Daemon, || true).unwrap();
        let payload = b"{}".to_vec();
        let lane = Lane {
            uid: 7,
            destination: Arc::from("default"),
            tool: Arc::from("demo"),
        };
        let event = NewEvent {
            lane: Arc::new(lane),
            id: [1; 16],
            project: None,
            epoch: 1,
            payload: 0..payload.len(),
        };
        let append = Append {
            events: vec![event],
            arena: payload,
            at: world.clock.now(),
            ..Append::default()
        };
        queue.append(append).await.unwrap();
        let rooms = Rooms::new(&world, loaded, queue.clone()).await.unwrap();
        // A flusher, or a connection, looks before whoever erases has begun; and nothing else changes.
        std::fs::write(home.path().join("config/consent.toml"), "[tools]\ndemo = false\n").unwrap();
        drop(rooms.consent.of(7));
        let Rooms {
            withdrawn,
            consent,
            identity,
            ..
        } = rooms;
        let clock = Arc::clone(&world.clock);
        let erasing = tokio::spawn(each(withdrawn, queue.clone(), consent, identity, clock));
        let mut view = queue.view();
        let erased = view.wait_for(|view| view.events == 0);
        tokio::time::timeout(Duration::from_secs(30), erased)
            .await
            .expect("it is erased")
            .unwrap();
        erasing.abort();
        drop(queue);
        owner.close().unwrap();
    }
}
