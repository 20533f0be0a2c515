//! Everything that the daemon touches, passed in: what it is told by flags and environment, its clock, its
//! randomness. Tests bring their own.

use std::path::PathBuf;
use std::sync::Arc;

use telemetry_activation::Inherited;
use telemetry_policy::Variables;

use crate::cli::Flags;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Environment, Loaded, Mode, Places};
use crate::failure::Failure;
use crate::state_dir::{self, StateDir};

/// What units and plists call the socket: `FileDescriptorName=`, the key under `Sockets`.
pub const SOCKET_NAME: &str = "telemetryd";

/// Everything that the daemon touches, passed in: tests bring their own.
pub struct World {
    /// Where files are; `state` is where state really goes.
    pub places: Places,
    /// The socket to bind.
    pub socket: PathBuf,
    /// Settings from the command line.
    pub flags: config::Flags,
    /// The environment.
    pub environment: Environment,
    /// The same variables, the empty ones included: those that deny do so by being present.
    pub variables: Arc<Variables>,
    /// Why state is not where it was asked to be.
    pub moved: Option<String>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// All randomness (I9).
    pub seed: u64,
    /// The daemon's own uid.
    pub uid: u32,
    /// The socket that a service manager has handed over: it comes before every other place, and its file is not
    /// ours.
    pub inherited: Option<Inherited>,
    /// Called at named points by tests that kill the daemon there.
    pub probe: Option<fn(&'static str)>,
}

impl World {
    /// The real one.
    ///
    /// # Errors
    /// When nothing says where files are, or a flag asks for what this version cannot do.
    pub fn of_this_process(flags: &Flags) -> Result<Self, Failure> {
        let mode = if flags.system { Mode::System } else { Mode::User };
        let absolute = |path: &PathBuf| {
            std::path::absolute(path)
                .map_err(|e| Failure::Config(format!("cannot find {}: {e}", path.display())))
        };
        let inherited = telemetry_activation::take(SOCKET_NAME)?;
        let environment = Environment::of_this_process();
        let uid = rustix::process::geteuid().as_raw();
        let mut places = Places::find(mode, &environment, uid, &|path| path.is_dir())?;
        let asked = flags.socket.as_ref().map(absolute).transpose()?;
        let socket = inherited
            .as_ref()
            .and_then(|inherited| inherited.path.clone())
            .or(asked)
            .unwrap_or_else(|| places.socket.clone());
        let StateDir { path, moved } = state_dir::choose(&places.state, uid);
        places.state = path;
        Ok(Self {
            variables: Arc::new(Variables::of_this_process()),
            flags: config::Flags {
                config: flags.config.as_ref().map(absolute).transpose()?,
                idle_exit: flags.idle_exit.clone(),
            },
            places,
            socket,
            environment,
            moved,
            clock: Arc::new(SystemClock),
            seed: fastrand::u64(..),
            uid,
            inherited,
            #[cfg(feature = "kill-points")]
            probe: Some(crate::kill_points::at),
            #[cfg(not(feature = "kill-points"))]
            probe: None,
        })
    }

    /// Who may connect: the user alone, or everybody (each then is answered about itself).
    #[must_use]
    pub const fn socket_mode(&self) -> u32 {
        match self.places.mode {
            Mode::User => 0o600,
            Mode::System => 0o666,
        }
    }

    /// The mode of the socket's directory, where it has to be made.
    #[must_use]
    pub const fn socket_directory_mode(&self) -> u32 {
        match self.places.mode {
            Mode::User => 0o700,
            Mode::System => 0o755,
        }
    }

    /// The settings.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(&self) -> Result<Loaded, Failure> {
        Ok(config::load(&self.places, &self.flags, &self.environment)?)
    }
}
