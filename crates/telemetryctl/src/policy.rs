//! What may be sent, as this process can see it without a daemon: the admin's and the user's files, this
//! process's environment, and the manifests. The daemon reads the same places by the same rules.

use std::collections::BTreeMap;
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
        manifests: manifests(&places(context), &RealFiles),
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

/// One manifest a tool. One that cannot be read counts as absent: then the tool is off (I3).
fn manifests(places: &[(Origin, PathBuf)], eyes: &dyn Look) -> BTreeMap<String, Registered> {
    let mut found = BTreeMap::new();
    for (origin, directory) in places {
        let Found::Directory(names) = eyes.look(directory) else {
            continue;
        };
        for name in names.iter().filter(|name| name.ends_with(".toml")) {
            let path = directory.join(name);
            let Found::File(text) = eyes.look(&path) else {
                continue;
            };
            if let Ok(manifest) = Manifest::parse(&text) {
                found.entry(manifest.name.clone()).or_insert_with(|| Registered {
                    manifest,
                    origin: *origin,
                    source: path.display().to_string(),
                });
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
