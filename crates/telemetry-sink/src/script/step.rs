//! A step: when, how often, and what is done.

use std::time::Duration;

use serde_json::Value;

use super::{Echo, When};

/// An ordinary answer. The default is 200 `{"success":true}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Further headers, as they are written.
    pub headers: Vec<(String, String)>,
    /// The body; by default one that fits the status.
    pub body: Option<String>,
    /// By default `application/json`.
    pub content_type: Option<String>,
}

impl Default for Reply {
    fn default() -> Self {
        Self::status(200)
    }
}

impl Reply {
    /// An answer of that status with the body that fits it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
            content_type: None,
        }
    }
}

/// What a step does to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Answers, well or not.
    Reply(Reply),
    /// Says nothing for that long, or for ever, then answers.
    Hang {
        /// `None` is for ever.
        wait: Option<Duration>,
        /// What is answered then.
        reply: Reply,
    },
    /// Resets the connection (RST). With `after` as soon as so many bytes of the request's body were read, 0
    /// being the head alone: such a step is decided before all others, and one whose conditions need the
    /// body never acts. Without, once the whole request was read.
    Reset {
        /// Bytes of the body.
        after: Option<u64>,
    },
    /// Reads the request and closes without an answer.
    Close,
    /// Closes after so many bytes of a good answer, head included.
    Half {
        /// Bytes on the wire.
        bytes: u64,
    },
    /// Plays the page of a hotel: 200 `text/html`, or a redirect there.
    Captive {
        /// Where 302 leads; `None` is the page itself.
        location: Option<String>,
    },
    /// Answers, the body no faster than this.
    Slow {
        /// At least 1.
        bytes_per_second: u64,
        /// What is answered.
        reply: Reply,
    },
    /// Writes bytes that are not HTTP, and closes.
    Garbage {
        /// What is written.
        bytes: Vec<u8>,
    },
    /// A good answer that names the batch's id.
    Echo(Echo),
    /// A good answer that names another batch's id.
    WrongId(Echo),
    /// A good answer with a body of this many bytes.
    Oversized {
        /// At most 1 GiB.
        bytes: u64,
    },
}

impl Action {
    /// Its name in a script.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reply(_) => "status",
            Self::Hang { .. } => "hang",
            Self::Reset { .. } => "reset",
            Self::Close => "close",
            Self::Half { .. } => "half",
            Self::Captive { .. } => "captive",
            Self::Slow { .. } => "slow",
            Self::Garbage { .. } => "garbage",
            Self::Echo(_) => "echo",
            Self::WrongId(_) => "wrong-id",
            Self::Oversized { .. } => "oversized",
        }
    }

    /// Whether events count as arrived by default: where a whole and good answer is written in the end.
    pub(crate) fn stores(&self) -> bool {
        let good = |reply: &Reply| (200..300).contains(&reply.status);
        match self {
            Self::Reply(reply) | Self::Slow { reply, .. } => good(reply),
            Self::Hang { wait, reply } => wait.is_some() && good(reply),
            Self::Echo(_) | Self::Oversized { .. } => true,
            Self::Reset { .. }
            | Self::Close
            | Self::Half { .. }
            | Self::Captive { .. }
            | Self::Garbage { .. }
            | Self::WrongId(_) => false,
        }
    }

    /// Whether it is decided before the body is read.
    pub(crate) fn is_early(&self) -> bool {
        matches!(self, Self::Reset { after: Some(_) })
    }
}

/// One step of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The conditions.
    pub when: When,
    /// How often it acts at most; `None` is always.
    pub times: Option<u64>,
    /// Whether the events count as arrived, where that is not what the action says: a server may store a
    /// batch and then fail to say so.
    pub store: Option<bool>,
    /// What it does.
    pub action: Action,
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self {
            when: When::default(),
            times: None,
            store: None,
            action,
        }
    }
}

impl Step {
    /// Answers with that status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Action::Reply(Reply::status(status)).into()
    }

    /// 413 for every body over so many bytes, its content coding undone.
    #[must_use]
    pub fn too_large(over: u64) -> Self {
        Self::status(413).bytes_over(over)
    }

    /// Says nothing for that long and answers well then.
    #[must_use]
    pub fn hang(wait: Duration) -> Self {
        Action::Hang {
            wait: Some(wait),
            reply: Reply::default(),
        }
        .into()
    }

    /// Never answers.
    #[must_use]
    pub fn hang_for_ever() -> Self {
        Action::Hang {
            wait: None,
            reply: Reply::default(),
        }
        .into()
    }

    /// Resets the connection after so many bytes of the request's body.
    #[must_use]
    pub fn reset_after(bytes: u64) -> Self {
        Action::Reset { after: Some(bytes) }.into()
    }

    /// Resets the connection after the whole request.
    #[must_use]
    pub fn reset() -> Self {
        Action::Reset { after: None }.into()
    }

    /// Closes without an answer.
    #[must_use]
    pub fn close() -> Self {
        Action::Close.into()
    }

    /// Closes after so many bytes of the answer.
    #[must_use]
    pub fn half(bytes: u64) -> Self {
        Action::Half { bytes }.into()
    }

    /// 200 `text/html`.
    #[must_use]
    pub fn captive() -> Self {
        Action::Captive { location: None }.into()
    }

    /// 302 to the page of a captive portal.
    #[must_use]
    pub fn captive_redirect(location: &str) -> Self {
        Action::Captive {
            location: Some(location.to_owned()),
        }
        .into()
    }

    /// A good answer, its body no faster than this. At least 1 byte a second.
    #[must_use]
    pub fn slow(bytes_per_second: u64) -> Self {
        Action::Slow {
            bytes_per_second: bytes_per_second.max(1),
            reply: Reply::default(),
        }
        .into()
    }

    /// Bytes that are not HTTP.
    #[must_use]
    pub fn garbage(bytes: &[u8]) -> Self {
        Action::Garbage {
            bytes: bytes.to_vec(),
        }
        .into()
    }

    /// A good answer that names the batch's id.
    #[must_use]
    pub fn echo(echo: Echo) -> Self {
        Action::Echo(echo).into()
    }

    /// A good answer that names another batch's id.
    #[must_use]
    pub fn wrong_id(echo: Echo) -> Self {
        Action::WrongId(echo).into()
    }

    /// A good answer with a body of so many bytes.
    #[must_use]
    pub fn oversized(bytes: u64) -> Self {
        Action::Oversized { bytes }.into()
    }

    /// With a header in its answer, where the action answers as it is told.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Some(reply) = self.reply() {
            reply.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// With that body in its answer, where the action answers as it is told.
    #[must_use]
    pub fn body(mut self, body: &str) -> Self {
        if let Some(reply) = self.reply() {
            reply.body = Some(body.to_owned());
        }
        self
    }

    /// With that content type of its answer, where the action answers as it is told.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        if let Some(reply) = self.reply() {
            reply.content_type = Some(content_type.to_owned());
        }
        self
    }

    fn reply(&mut self) -> Option<&mut Reply> {
        match &mut self.action {
            Action::Reply(reply) | Action::Hang { reply, .. } | Action::Slow { reply, .. } => Some(reply),
            _ => None,
        }
    }

    /// So often at most.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// The events count as arrived, or do not, whatever is answered.
    #[must_use]
    pub fn store(mut self, store: bool) -> Self {
        self.store = Some(store);
        self
    }

    /// Only the request of that number, 1 for the first.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.when.nth = Some(nth);
        self
    }

    /// Only every n-th request. 0 counts as 1.
    #[must_use]
    pub fn every(mut self, every: u64) -> Self {
        self.when.every = Some(every.max(1));
        self
    }

    /// Not before this long after the sink began.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Self {
        self.when.after = Some(after);
        self
    }

    /// Only until this long after the sink began.
    #[must_use]
    pub fn until(mut self, until: Duration) -> Self {
        self.when.until = Some(until);
        self
    }

    /// Only on that path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.when.path = Some(path.to_owned());
        self
    }

    /// Only for bodies over so many bytes, the content coding undone.
    #[must_use]
    pub fn bytes_over(mut self, bytes: u64) -> Self {
        self.when.bytes_over = Some(bytes);
        self
    }

    /// Only for batches of more events than this.
    #[must_use]
    pub fn events_over(mut self, events: u64) -> Self {
        self.when.events_over = Some(events);
        self
    }

    /// Only for batches with an event of that tool.
    #[must_use]
    pub fn tool(mut self, tool: &str) -> Self {
        self.when.tool = Some(tool.to_owned());
        self
    }

    /// Only for batches with an event of that name.
    #[must_use]
    pub fn event(mut self, event: &str) -> Self {
        self.when.event = Some(event.to_owned());
        self
    }

    /// Only for batches with an event that has that property.
    #[must_use]
    pub fn property(mut self, name: &str, equals: Option<Value>) -> Self {
        self.when.property = Some((name.to_owned(), equals));
        self
    }
}
