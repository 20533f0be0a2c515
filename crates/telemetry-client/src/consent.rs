//! What this process can see of consent: the machine's and the user's files, and its own environment
//! (CONSENT.md, layers 1 to 3). A denial here means that no socket is opened and nothing is created (I3).

use telemetry_policy::gather::{self, Look};
use telemetry_policy::{Machine, UserConsent};
use telemetry_protocol::consent::{Decision, Fact, ToolDefault, Verdict, decide};

use crate::surroundings::Surroundings;

/// The facts of layers 1 to 3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// The admin's word, and this process's environment.
    pub machine: Machine,
    /// The user's word.
    pub user: UserConsent,
}

impl Gathered {
    /// Reads the files that `surroundings` names, through `eyes`. A few system calls; nothing is kept open.
    #[must_use]
    pub fn gather(surroundings: &Surroundings, eyes: &dyn Look) -> Self {
        let is_set = |name: &str| name == "DO_NOT_TRACK" && surroundings.do_not_track;
        let user = match &surroundings.user {
            Some(dirs) => gather::user(&dirs.config, eyes),
            None => UserConsent::absent("no home directory"),
        };
        Self {
            machine: gather::machine(&surroundings.machine, eyes, &is_set),
            user,
        }
    }

    /// The facts about `tool`, one a layer at least, so that an explanation can say where was looked.
    #[must_use]
    pub fn facts(&self, tool: &str) -> Vec<Fact> {
        let mut facts = self.machine.facts(tool);
        facts.extend(self.user.facts(tool));
        facts
    }

    /// The first denial for `tool` that this process sees: then nothing is sent, not even to the daemon.
    #[must_use]
    pub fn denial(&self, tool: &str) -> Option<Fact> {
        self.facts(tool)
            .into_iter()
            .filter(|fact| fact.verdict == Some(Verdict::Deny))
            .min_by_key(|fact| fact.layer)
    }

    /// The decision with the tool's default, which only a manifest knows.
    #[must_use]
    pub fn decide(&self, tool: &str, default: ToolDefault, default_source: &str) -> Decision {
        decide(&self.facts(tool), default, default_source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::RealFiles;
    use std::ffi::OsString;
    use std::path::Path;
    use telemetry_protocol::consent::Layer;

    fn surroundings(home: &Path, do_not_track: bool) -> Surroundings {
        let lookup = |name: &str| -> Option<OsString> {
            match name {
                "TELEMETRYD_CONFIG_DIR" => Some(home.join("config").into()),
                "TELEMETRYD_STATE_DIR" => Some(home.join("state").into()),
                "TELEMETRYD_MACHINE_DIR" => Some(home.join("machine").into()),
                "HOME" => Some(home.into()),
                "DO_NOT_TRACK" if do_not_track => Some(OsString::new()),
                _ => None,
            }
        };
        let mut found = Surroundings::read(&lookup, None, 7, &|_| false);
        // The developer's own machine may have opted out: that is not what is asked here.
        found.machine.retain(|directory| directory.starts_with(home));
        found
    }

    #[test]
    fn each_of_the_three_layers_can_say_no_and_the_first_is_named() {
        let home = tempfile::tempdir().unwrap();
        for name in ["config", "machine"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        let denial = |track| {
            Gathered::gather(&surroundings(home.path(), track), &RealFiles)
                .denial("kedro")
                .map(|fact| fact.layer)
        };
        assert_eq!(denial(false), None);
        std::fs::write(
            home.path().join("config/consent.toml"),
            "[tools]\nkedro = false\n",
        )
        .unwrap();
        assert_eq!(denial(false), Some(Layer::User));
        assert_eq!(denial(true), Some(Layer::Environment));
        std::fs::write(home.path().join("machine/opt-out"), "").unwrap();
        assert_eq!(denial(true), Some(Layer::Machine));
    }

    #[test]
    fn asking_creates_nothing() {
        let home = tempfile::tempdir().unwrap();
        let gathered = Gathered::gather(&surroundings(home.path(), false), &RealFiles);
        assert_eq!(
            gathered
                .decide("kedro", ToolDefault::OptOut, "kedro.toml")
                .verdict,
            Verdict::Allow
        );
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
