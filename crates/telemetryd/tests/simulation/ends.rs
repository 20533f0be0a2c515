//! How a life of the daemon ends, and the next one begins: it is asked to, it is killed, the power goes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::disk;
use crate::endpoint::lock;
use crate::life::{Life, places};
use crate::world::{Machine, environment};

impl Machine {
    /// The daemon starts: nothing that it finds may be wrong.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        let (life, report) = self.estate.start().await?;
        self.life = Some(life);
        self.lives += 1;
        if report.set_aside.is_some() || report.lost > 0 || !report.unbalanced.is_empty() {
            self.broke(format!("the daemon found its queue like this: {report:?}"));
        }
        self.rest().await
    }

    /// The daemon is killed where it stands.
    pub(crate) async fn kill(&mut self, power: Option<u64>) -> Result<(), String> {
        if disk::is_set(self.estate.lane) {
            disk::clear(self.estate.lane);
        }
        self.trap("before-commit", 1);
        if let Some(life) = &self.life {
            // Whatever makes it write.
            let _ = life
                .queue
                .set_destination_state(&Arc::from("nobody"), "{}".to_owned())
                .await;
        }
        self.bury(power).await
    }

    /// The daemon dies when the queue comes to this point for the nth time.
    pub(crate) fn trap(&self, point: &'static str, nth: u32) {
        disk::set(self.estate.lane, point, nth, &self.state(), &self.next_state());
    }

    fn next_state(&self) -> PathBuf {
        self.home.path().join(format!("state-{}", self.lives))
    }

    /// It is dead: what it leaves is what the next one finds. `power`: the power went, with this much luck.
    pub(crate) async fn bury(&mut self, power: Option<u64>) -> Result<(), String> {
        self.tell(if power.is_some() {
            "the power goes"
        } else {
            "killed"
        });
        if let Some(life) = self.life.take() {
            // It says that it is closed: it has died.
            let _ = life.end().await;
        }
        disk::clear(self.estate.lane);
        lock(&self.known).killed();
        let (old, new) = (self.state(), self.next_state());
        if let Some(luck) = power {
            self.synced.cut(&new, luck).map_err(|error| error.to_string())?;
            self.estate.laptop.reboot(1000 * (luck % 1000));
            lock(&self.known).power_cut();
        }
        std::fs::remove_dir_all(old).map_err(|error| error.to_string())?;
        let name = new.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mode = self.estate.places.mode;
        self.estate.environment = environment(self.home.path(), &name);
        self.estate.places = places(&self.estate.environment, mode, self.estate.uid);
        if let Some(word) = self.word_meanwhile.take() {
            std::fs::write(self.word_file(), word).map_err(|error| error.to_string())?;
        }
        Box::pin(self.start()).await?;
        if power.is_some() {
            self.note_synced();
        }
        Ok(())
    }

    /// It ends as a service manager ends it, and is started again.
    pub(crate) async fn restart(&mut self) -> Result<(), String> {
        self.tell("it ends, and starts again");
        let lives = self.lives;
        lock(&self.known).hurried = [true; 2];
        if let Some(life) = &self.life {
            life.drain();
        }
        for _ in 0..20 {
            self.rest().await?;
            if self.lives != lives {
                return Ok(());
            }
            if self.life.as_ref().is_some_and(Life::has_drained) {
                break;
            }
            self.pass(Duration::from_millis(500), Duration::from_millis(500))
                .await?;
            if self.lives != lives {
                return Ok(());
            }
        }
        if let Some(life) = &self.life {
            life.stop();
        }
        self.rest().await?;
        if self.lives != lives {
            return Ok(());
        }
        disk::clear(self.estate.lane);
        if let Some(life) = self.life.take()
            && let Err(error) = life.end().await
        {
            self.broke(format!("it did not end well: {error}"));
        }
        lock(&self.known).killed();
        self.start().await
    }
}
