//! What may be sent, as this process can see it without a daemon: the admin's and the user's files, this
//! process's environment, and the manifests. The daemon reads the same places by the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use telemetry_client::{Gathered, RealFiles};
use telemetry_policy::gather::{Found, Look};
use telemetry_policy::policy::Parts;
use telemetry_policy::{Manifest, Origin, Policy, Registered};
use telemetry_protocol::place::{MACHINE_DIR, PACKAGE_MANIFESTS};

use crate::Context;

/// Where the admin's manifests are; on macOS they stand with the machine's configuration.
const ADMIN_MANIFESTS: &str = if cfg!(target_os = "macos") {
    "/Library/Application Support/telemetryd/tools.d"
} else {
    "/etc/telemetryd/tools.d"
};

/// The policy without what the daemon alone knows: its configuration and its own environment.
pub(crate) fn local(context: &Context) -> Policy {
    let gathered = Gathered::gather(&context.surroundings, &RealFiles);
    Policy::new(Parts {
        machine: gathered.machine,
        user: gathered.user,
        manifests: manifests(&places(context), &RealFiles).into(),
        default_destination: "default".to_owned(),
        ..Parts::default()
    })
}

/// The directories of manifests, the first that has a tool's counts.
fn places(context: &Context) -> Vec<(Origin, PathBuf)> {
    let mut places = vec![
        (Origin::Admin, PathBuf::from(ADMIN_MANIFESTS)),
        (Origin::Package, PathBuf::from(PACKAGE_MANIFESTS)),
    ];
    if let Some(user) = &context.surroundings.user {
        places.push((Origin::User, user.manifests.clone()));
        places.push((Origin::Registered, user.state.join("tools.d")));
    }
    places
}

/// One manifest a tool, as the daemon reads them: one that cannot be read leaves its tool (by the file's
/// name) without any, rather than with one from a lower place. Then the tool is off (I3).
fn manifests(places: &[(Origin, PathBuf)], eyes: &dyn Look) -> BTreeMap<String, Registered> {
    let mut found = BTreeMap::new();
    let mut broken = BTreeSet::new();
    for (origin, directory) in places {
        let Found::Directory(names) = eyes.look(directory) else {
            continue;
        };
        for (name, stem) in names
            .iter()
            .filter_map(|name| Some((name, name.strip_suffix(".toml")?)))
        {
            let path = directory.join(name);
            let manifest = match eyes.look(&path) {
                Found::File(text) => Manifest::parse(&text).ok(),
                _ => None,
            };
            match manifest {
                None => {
                    broken.insert(stem.to_owned());
                }
                Some(manifest) if broken.contains(&manifest.name) => {}
                Some(manifest) => {
                    found.entry(manifest.name.clone()).or_insert_with(|| Registered {
                        manifest,
                        origin: *origin,
                        source: path.display().to_string(),
                    });
                }
            }
        }
    }
    found
}

/// The directory whose `opt-out` an admin writes: the one that the environment adds, else the real one.
pub(crate) fn machine_directory(context: &Context) -> &Path {
    context
        .surroundings
        .machine
        .last()
        .map_or(Path::new(MACHINE_DIR), PathBuf::as_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_counts_and_a_broken_manifest_lets_no_lower_one_through() {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (home.path().join("1"), home.path().join("2"));
        for directory in [&first, &second] {
            std::fs::create_dir(directory).unwrap();
        }
        let good = |name: &str| format!("name = \"{name}\"\nevents = \"any\"\n");
        std::fs::write(first.join("a.toml"), good("a")).unwrap();
        std::fs::write(first.join("b.toml"), "name = ").unwrap();
        std::fs::write(second.join("a.toml"), good("a")).unwrap();
        std::fs::write(second.join("b.toml"), good("b")).unwrap();
        std::fs::write(second.join("c.toml"), good("c")).unwrap();
        let found = manifests(&[(Origin::Admin, first), (Origin::User, second)], &RealFiles);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(found["a"].origin, Origin::Admin);
    }
}
