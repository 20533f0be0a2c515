//! Notices: what a tool has to tell its user before anything is collected, and that it was told. The daemon remembers it;
//! where none answers, a marker in the state directory does (CONSENT.md, "Notice"). Showing is the tool's own doing:
//! nothing is printed here (I10).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use crate::connect::connect;
use crate::consent::Gathered;
use crate::surroundings::Surroundings;

/// Markers of notices that were shown, in the state directory.
pub(crate) const NOTICED: &str = "noticed";
/// Manifests that were agreed to, in the state directory.
pub(crate) const AGREED: &str = "agreed";

/// Something that the user has to be shown, for the first time or again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose.
    pub tool: String,
    /// What is to be shown, as the manifest has it.
    pub text: String,
    /// What the manifest lets through beyond what the user agreed to; empty the first time.
    pub wider: Vec<String>,
    /// The manifest, which the marker keeps: one that gets wider asks again.
    manifest: String,
}

/// Who remembers that a notice was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The daemon that answered; and the marker, for when there is none.
    Daemon,
    /// The marker alone: no daemon answered in time.
    Marker,
}

impl Gathered {
    /// What has to be shown to the user of `tool` before any of its events is taken, as far as this process sees it:
    /// the daemon may know that it was (then it is shown once more, which harms nobody). `None` for a tool that is
    /// denied by the user, the machine or the environment: there is nothing to tell then.
    #[must_use]
    pub fn notice(&self, tool: &str) -> Option<Notice> {
        let registered = self.policy().manifest(tool)?;
        let held = self.policy().tool_with_rows(tool);
        let denied = held.facts.iter().any(|fact| fact.verdict == Some(DENY));
        if !held.notice_missing || denied {
            return None;
        }
        let manifest = &registered.manifest;
        let text = manifest.notice_text.clone().or_else(|| manifest.about.clone());
        Some(Notice {
            tool: tool.to_owned(),
            text: text.unwrap_or_else(|| format!("{tool} sends usage data.")),
            wider: held.wider,
            manifest: manifest.text.clone(),
        })
    }
}

const DENY: telemetry_protocol::consent::Verdict = telemetry_protocol::consent::Verdict::Deny;

impl Notice {
    /// The user was shown it: tells the daemon, until `deadline`, and leaves the marker.
    ///
    /// # Errors
    /// Neither the daemon nor the state directory keeps it: it has to be shown again.
    pub fn was_shown(&self, surroundings: &Surroundings, deadline: Instant) -> io::Result<Kept> {
        let heard = self.tell(surroundings, deadline);
        let marked = match &surroundings.user {
            Some(dirs) => mark(&dirs.state.join(NOTICED), &self.tool, &self.manifest),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        match (heard, marked) {
            (true, _) => Ok(Kept::Daemon),
            (false, marked) => marked.map(|()| Kept::Marker),
        }
    }

    /// Tells the daemon; whether one has taken it.
    fn tell(&self, surroundings: &Surroundings, deadline: Instant) -> bool {
        let Ok(mut daemon) = connect(&surroundings.sockets.candidates(), deadline) else {
            return false;
        };
        // A tool's name needs no quoting.
        let line = format!(
            "{{\"op\":\"consent\",\"action\":\"noticed\",\"tool\":\"{}\"}}\n",
            self.tool
        );
        daemon.send(line.as_bytes(), deadline).is_ok()
            && daemon
                .line(deadline)
                .is_ok_and(|answer| answer.contains("\"ok\":true"))
    }
}

/// Writes the marker: whole or not at all.
fn mark(directory: &Path, tool: &str, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let beside = directory.join(format!(".{tool}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, directory.join(tool))
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::files::RealFiles;

    const TELLS: &str = "name = \"t\"\nevents = \"any\"\nconsent = \"opt-out\"\nnotice = \"We count commands.\"\nnotice_required = true\n";

    fn surroundings(home: &Path) -> Surroundings {
        let at = |name: &str| home.join(name).display().to_string();
        let vars = [
            ("HOME", at("")),
            ("TELEMETRYD_STATE_DIR", at("state")),
            ("TELEMETRYD_CONFIG_DIR", at("config")),
            ("TELEMETRYD_SOCKET", at("no.sock")),
        ];
        let mut found = Surroundings::read(vars.into_iter().collect(), None, 7, &|_| false);
        found.machine.retain(|directory| directory.starts_with(home));
        found
    }

    fn install(home: &Path, text: &str) {
        let tools = home.join(".local/share/telemetryd/tools.d");
        fs::create_dir_all(&tools).unwrap();
        fs::write(tools.join("t.toml"), text).unwrap();
    }

    #[test]
    fn without_a_daemon_a_marker_remembers_until_the_manifest_gets_wider() {
        let home = tempfile::tempdir().unwrap();
        let surroundings = surroundings(home.path());
        let due = || Gathered::gather(&surroundings, &RealFiles).notice("t");
        assert_eq!(due(), None, "there is no such tool");
        install(home.path(), TELLS);
        let notice = due().unwrap();
        assert_eq!(
            (notice.text.as_str(), notice.wider.len()),
            ("We count commands.", 0)
        );
        assert!(!home.path().join("state").exists(), "asking leaves no trace");
        let soon = || clock::after(Duration::from_millis(50));
        assert_eq!(notice.was_shown(&surroundings, soon()).unwrap(), Kept::Marker);
        assert_eq!(due(), None);
        install(home.path(), &TELLS.replace("We count commands.", "We count."));
        let again = due().unwrap();
        assert_eq!(again.wider, ["its notice got shorter"]);
        again.was_shown(&surroundings, soon()).unwrap();
        assert_eq!(due(), None);
        fs::write(home.path().join("state/noticed/t"), "").unwrap();
        assert_eq!(due(), None, "an empty marker is about whatever there is");
    }

    #[test]
    fn who_is_denied_has_nothing_to_be_told() {
        let home = tempfile::tempdir().unwrap();
        install(home.path(), TELLS);
        fs::create_dir_all(home.path().join("config")).unwrap();
        fs::write(home.path().join("config/consent.toml"), "telemetry = false\n").unwrap();
        let gathered = Gathered::gather(&surroundings(home.path()), &RealFiles);
        assert_eq!(gathered.notice("t"), None);
    }
}
