//! What a tool holds: one [`Client`], one call an event. Consent first, then context, then one line to the daemon.
//!
//! I10: [`Event::send`] waits for others at most [`Client::deadline`] (connecting and writing together, a full backlog
//! included), and never panics, prints, or changes an exit code or the signal mask. Nothing is kept open and no thread
//! is made between two events, so that forks, `Drop` and the end of the process need no care.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use telemetry_policy::Manifest;
use telemetry_protocol::mask::{Vocabulary, mask_command};

use crate::event::Event;
use crate::{Gathered, Notice, RealFiles, Surroundings, clock};

/// For connecting and writing together.
pub const DEADLINE: Duration = Duration::from_millis(20);

/// A command line without what its user wrote in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked(String);

impl Masked {
    /// Its words, with blanks between.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What one tool reports with. Cheap to make and to clone; may be shared between threads.
///
/// ```no_run
/// use telemetry_client::Client;
///
/// let client = Client::from_manifest("name = \"mytool\"\nconsent = \"opt-out\"\nnotice = \"…\"\nevents = \"any\"\n")
///     .version(env!("CARGO_PKG_VERSION"));
/// client.event("ran").prop("files", 3).prop("cached", true).send();
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) name: String,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) problems: Vec<String>,
    pub(crate) version: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) project_dir: Option<PathBuf>,
    pub(crate) said: Option<bool>,
    pub(crate) deadline: Duration,
    pub(crate) surroundings: Option<Surroundings>,
}

impl Client {
    /// A client of the tool that this manifest (TOML, TOOLS.md) is of.
    ///
    /// A manifest with a mistake is no reason to fail a tool: nothing is ever sent then, and [`Client::problems`]
    /// says why, for a test of the tool's authors.
    #[must_use]
    pub fn from_manifest(text: &str) -> Self {
        match Manifest::parse(text) {
            Ok(manifest) => Self {
                name: manifest.name.clone(),
                manifest: Some(manifest),
                ..Self::named("")
            },
            Err(mistakes) => Self {
                problems: mistakes.iter().map(ToString::to_string).collect(),
                ..Self::named("")
            },
        }
    }

    /// A client of a tool whose manifest is installed.
    #[must_use]
    pub fn named(tool: &str) -> Self {
        Self {
            name: tool.to_owned(),
            manifest: None,
            problems: Vec::new(),
            version: None,
            project: None,
            user: None,
            project_dir: None,
            said: None,
            deadline: DEADLINE,
            surroundings: None,
        }
    }

    /// What is wrong with the manifest, with line numbers. Assert in a test that there is nothing:
    ///
    /// ```
    /// use telemetry_client::Client;
    ///
    /// assert!(Client::from_manifest("name = \"mytool\"\nevents = \"any\"\n").problems().is_empty());
    /// assert!(!Client::from_manifest("nmae = \"mytool\"").problems().is_empty());
    /// ```
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The tool's version: at most 64 bytes of it are said.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    /// Where the files of the project are looked for; the working directory unless said. It does not leave.
    #[must_use]
    pub fn project_dir(mut self, directory: &Path) -> Self {
        self.project_dir = Some(directory.to_owned());
        self
    }

    /// A key that the tool has for its project, in place of where its files are. Stored and sent only as a keyed hash.
    #[must_use]
    pub fn project(mut self, key: &str) -> Self {
        self.project = Some(key.to_owned());
        self
    }

    /// A key that the tool has for its user. Stored and sent only as a keyed hash.
    #[must_use]
    pub fn user(mut self, key: &str) -> Self {
        self.user = Some(key.to_owned());
        self
    }

    /// What the tool's own flag said (`--telemetry=no`).
    #[must_use]
    pub fn consent(mut self, yes: bool) -> Self {
        self.said = Some(yes);
        self
    }

    /// For connecting and writing together; [`DEADLINE`] unless said.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Surroundings other than this process's, for tests.
    #[must_use]
    pub fn in_surroundings(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = Some(surroundings);
        self
    }

    /// An event to be sent.
    #[must_use]
    pub fn event(&self, name: &str) -> Event<'_> {
        Event::new(self, name)
    }

    /// The arguments of this process, masked by the `vocabulary` of the manifest; without one, all of them are.
    #[must_use]
    pub fn command_line(&self) -> Masked {
        let words = std::env::args_os().skip(1);
        let words = words.map(|word| word.to_string_lossy().into_owned());
        let known = self
            .manifest
            .as_ref()
            .and_then(|own| own.terms.vocabulary.as_ref());
        self.mask(words, known.unwrap_or(&Vocabulary::default()))
    }

    /// What the user has to be shown before any event counts; `None` where there is nothing, or it was shown already.
    /// Show its text, then say so ([`Client::noticed`]): until then the daemon declines.
    #[must_use]
    pub fn notice(&self) -> Option<Notice> {
        let own = self.manifest.as_slice();
        Gathered::with(&self.seen_from(), own, &RealFiles).notice(&self.name)
    }

    /// The user was shown the notice. Where nobody keeps that, it has to be shown again.
    pub fn noticed(&self, notice: &Notice) {
        let surroundings = self.seen_from();
        // A denial in between: nothing is opened or made.
        if surroundings.variables.denies_everything().is_none() {
            let _ = notice.was_shown(&surroundings, clock::after(self.deadline));
        }
    }

    /// The surroundings that it was given, or those of this process as they are now.
    pub(crate) fn seen_from(&self) -> Cow<'_, Surroundings> {
        match &self.surroundings {
            Some(surroundings) => Cow::Borrowed(surroundings),
            None => Cow::Owned(Surroundings::of_this_process(None)),
        }
    }

    /// The command line as it may be reported: the tool's name, its commands and options; every other word masked.
    ///
    /// ```
    /// use telemetry_client::Client;
    /// use telemetry_protocol::mask::{Takes, Vocabulary};
    ///
    /// let run = Vocabulary::default().with_option("--env", Takes::Words(1));
    /// let vocabulary = Vocabulary::default().with_command("run", run);
    /// let masked = Client::named("mytool").mask(["run", "--env", "prod", "secret"], &vocabulary);
    /// assert_eq!(masked.as_str(), "mytool run --env ***** *****");
    /// ```
    pub fn mask<W: AsRef<str>>(&self, argv: impl IntoIterator<Item = W>, vocabulary: &Vocabulary) -> Masked {
        let mut line = self.name.clone();
        for word in mask_command(argv, vocabulary) {
            line.push(' ');
            line.push_str(word);
        }
        Masked(line)
    }
}
