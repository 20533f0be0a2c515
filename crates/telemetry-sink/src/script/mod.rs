//! Scripts of misbehaviour: what an endpoint does instead of answering well.
//!
//! A [`Script`] is a list of steps. For every request the steps are walked in order, and the first whose
//! conditions all hold and whose `times` are not used up acts; where none does, the request is answered
//! well: 200 `{"success":true}` for a body that could be decoded, 400 with the reason for one that could
//! not. It is built in Rust, or read from a TOML file whose every key README.md lists.
//!
//! ```
//! use telemetry_sink::{Script, Step};
//!
//! let script = Script::new()
//!     .then(Step::status(503).header("Retry-After", "1").times(3))
//!     .then(Step::status(400).event("poison"));
//! let same: Script = r#"
//!     [[step]]
//!     action = "status"
//!     status = 503
//!     headers = { Retry-After = "1" }
//!     times = 3
//!
//!     [[step]]
//!     action = "status"
//!     status = 400
//!     event = "poison"
//! "#.parse().unwrap();
//! assert_eq!(script, same);
//! ```

mod step;
mod when;

mod file;
mod keys;
mod units;

mod player;

pub use file::{Problem, ScriptError};
pub use step::{Action, Reply, Step};
pub use when::When;

pub(crate) use player::{Play, Player};
pub(crate) use when::{Body, Facts};

/// What is recognised as having come before, and not stored again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deduplicate {
    /// Nothing: every stored event counts, twice if it comes twice.
    #[default]
    None,
    /// A batch whose `Idempotency-Key` was stored is answered well and not stored again.
    Batch,
    /// Events whose id was stored are dropped from the batch.
    Events,
}

/// Where an answer names the batch's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Echo {
    /// Nowhere.
    #[default]
    None,
    /// As `batch_id` in the body.
    Body,
    /// As `X-Batch-Id` in the head.
    Header,
}

/// What a sink does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What is not stored twice.
    pub deduplicate: Deduplicate,
    /// Where good answers name the batch's id.
    pub echo: Echo,
}

impl Script {
    /// The script without misbehaviour.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more step at its end.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// With something that is not stored twice.
    #[must_use]
    pub fn deduplicate(mut self, what: Deduplicate) -> Self {
        self.deduplicate = what;
        self
    }

    /// With the batch's id in good answers.
    #[must_use]
    pub fn echo(mut self, echo: Echo) -> Self {
        self.echo = echo;
        self
    }

    /// Whether events have to be parsed to decide about a request.
    pub(crate) fn reads_events(&self) -> bool {
        self.deduplicate == Deduplicate::Events || self.steps.iter().any(|step| step.when.reads_events())
    }
}

impl std::str::FromStr for Script {
    type Err = ScriptError;

    /// Reads the TOML of a script file.
    ///
    /// # Errors
    /// All that is wrong with it at once, each with its line.
    fn from_str(text: &str) -> Result<Self, ScriptError> {
        file::read(text)
    }
}
