//! What may be sent, as this process can see it without a daemon: the admin's and the user's files, this
//! process's environment, and the manifests. The daemon reads the same places by the same rules.

use std::path::{Path, PathBuf};

use telemetry_client::{Gathered, RealFiles};
use telemetry_policy::Policy;
use telemetry_protocol::place::MACHINE_DIR;

use crate::Context;

/// Everything but what the daemon alone knows: its configuration and its own environment.
pub(crate) fn gathered(context: &Context) -> Gathered {
    Gathered::gather(&context.surroundings, &RealFiles)
}

/// The policy of layers 1 to 3 and the manifests.
pub(crate) fn local(context: &Context) -> Policy {
    gathered(context).policy().clone()
}

/// The directory whose `opt-out` an admin writes: the one that the environment adds, else the real one.
pub(crate) fn machine_directory(context: &Context) -> &Path {
    context
        .surroundings
        .machine
        .last()
        .map_or(Path::new(MACHINE_DIR), PathBuf::as_path)
}
