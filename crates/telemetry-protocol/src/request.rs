//! The control requests: lines with an `op` (PROTOCOL.md, "Control").

mod keys;

use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use self::keys::Keys;
use crate::PROTOCOL;
use crate::event::Rejected;
use crate::limits::MAX_KEY;
use crate::reason::ErrorCode;

/// What a `queue` request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueAction {
    /// Waiting and claimed rows.
    List,
    /// One row with its body.
    Show(Uuid),
    /// The request that would go next.
    NextBatch,
    /// Refused rows.
    Parked,
    /// Parked rows back into the queue.
    Requeue,
    /// Erases rows.
    Purge,
}

/// Which rows; absent fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Rows of this tool.
    pub tool: Option<String>,
    /// Rows for this destination.
    pub destination: Option<String>,
    /// The row with this event id.
    pub id: Option<Uuid>,
}

/// A control request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one a row of PROTOCOL.md's table, which describes them"
)]
pub enum Control {
    Hello {
        protocol: u64,
        client: Option<String>,
    },
    Register {
        manifest: String,
    },
    Status {
        all_users: bool,
    },
    Metrics {
        all_users: bool,
    },
    Flush {
        destination: Option<String>,
        wait: bool,
        timeout: Option<Duration>,
        all_users: bool,
    },
    Pause {
        destination: Option<String>,
        hold: Option<Duration>,
    },
    Resume {
        destination: Option<String>,
    },
    Consent {
        action: ConsentAction,
        tool: Option<String>,
        /// The project that denies, as its events name it: `deny` is about its rows alone then.
        project: Option<String>,
        limit: Option<u64>,
    },
    Identity {
        tool: Option<String>,
    },
    Forget {
        tool: Option<String>,
    },
    Tools {
        tool: Option<String>,
    },
    Queue {
        action: QueueAction,
        filter: RowFilter,
        limit: Option<u64>,
        /// Lines of lists have the events' bodies too.
        bodies: bool,
        all_users: bool,
    },
    Sent {
        limit: Option<u64>,
        tool: Option<String>,
        bodies: bool,
        all_users: bool,
    },
    Tail {
        tool: Option<String>,
        all_users: bool,
    },
    Config,
    Doctor {
        all_users: bool,
        probe: bool,
    },
    Reload,
    Stop {
        drain: Option<Duration>,
    },
    /// One of those above that says `all_users` and has no such key of its own.
    Everybody(Box<Control>),
}

/// What a `consent` request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of CONSENT.md")]
pub enum ConsentAction {
    Show,
    Explain,
    Allow,
    Deny,
    Reset,
    Noticed,
    Log,
}

/// Every `op`, as `unknown_op` lists them.
pub const OPS: &[&str] = &[
    "hello", "register", "status", "metrics", "flush", "pause", "resume", "consent", "tools", "identity",
    "forget", "queue", "sent", "tail", "config", "doctor", "reload", "stop",
];

impl Control {
    /// Reads a line whose `op` is present.
    ///
    /// # Errors
    /// `unknown_op`, `unsupported_protocol`, or `invalid_event` naming the key that is wrong.
    pub fn parse(line: &str) -> Result<Self, Rejected> {
        let map: Map<String, Value> = serde_json::from_str(line).map_err(|_| Rejected {
            code: ErrorCode::InvalidJson,
            message: "the line is not one JSON object".to_owned(),
        })?;
        let keys = Keys(&map);
        let request = Self::read(&keys)?;
        let of_somebody = matches!(
            request,
            Self::Consent { .. }
                | Self::Tools { .. }
                | Self::Identity { .. }
                | Self::Forget { .. }
                | Self::Config
        );
        Ok(match of_somebody && keys.flag("all_users")? {
            true => Self::Everybody(Box::new(request)),
            false => request,
        })
    }

    fn read(keys: &Keys<'_>) -> Result<Self, Rejected> {
        Ok(match keys.text("op", "a string")?.unwrap_or_default() {
            "hello" => Self::hello(keys)?,
            "register" => Self::Register {
                manifest: keys.required("manifest", "the manifest's TOML text")?.to_owned(),
            },
            "status" => Self::Status {
                all_users: keys.flag("all_users")?,
            },
            "metrics" => Self::Metrics {
                all_users: keys.flag("all_users")?,
            },
            "flush" => Self::Flush {
                destination: keys.owned("destination")?,
                wait: keys.flag("wait")?,
                timeout: keys.millis("timeout_ms")?,
                all_users: keys.flag("all_users")?,
            },
            "pause" => Self::Pause {
                destination: keys.owned("destination")?,
                hold: keys.millis("for_ms")?,
            },
            "resume" => Self::Resume {
                destination: keys.owned("destination")?,
            },
            "consent" => Self::consent(keys)?,
            "identity" => Self::Identity { tool: keys.tool()? },
            "forget" => Self::Forget { tool: keys.tool()? },
            "tools" => Self::tools(keys)?,
            "queue" => Self::Queue {
                action: keys.queue_action()?,
                filter: RowFilter {
                    tool: keys.tool()?,
                    destination: keys.owned("destination")?,
                    id: keys.id()?,
                },
                limit: keys.number("limit")?,
                bodies: keys.flag("bodies")?,
                all_users: keys.flag("all_users")?,
            },
            "sent" => Self::Sent {
                limit: keys.number("limit")?,
                tool: keys.tool()?,
                bodies: keys.flag("bodies")?,
                all_users: keys.flag("all_users")?,
            },
            "tail" => Self::Tail {
                tool: keys.tool()?,
                all_users: keys.flag("all_users")?,
            },
            "config" => Self::Config,
            "doctor" => Self::Doctor {
                all_users: keys.flag("all_users")?,
                probe: keys.flag("probe")?,
            },
            "reload" => Self::Reload,
            "stop" => Self::Stop {
                drain: keys.millis("drain_ms")?,
            },
            _ => {
                return Err(Rejected {
                    code: ErrorCode::UnknownOp,
                    message: format!("op: unknown; this daemon knows {}", OPS.join(", ")),
                });
            }
        })
    }

    /// Whether it asks about everybody, not the caller alone (machine-wide daemons).
    #[must_use]
    pub const fn all_users(&self) -> bool {
        match self {
            Self::Status { all_users }
            | Self::Metrics { all_users }
            | Self::Flush { all_users, .. }
            | Self::Queue { all_users, .. }
            | Self::Sent { all_users, .. }
            | Self::Tail { all_users, .. }
            | Self::Doctor { all_users, .. } => *all_users,
            Self::Everybody(_) => true,
            _ => false,
        }
    }

    /// Whether it may change how the events behind it are judged.
    #[must_use]
    pub const fn changes_consent(&self) -> bool {
        match self {
            Self::Register { .. } | Self::Forget { .. } | Self::Reload => true,
            Self::Consent { .. } => !self.only_asks(),
            Self::Everybody(request) => request.changes_consent(),
            _ => false,
        }
    }

    /// Whether it changes nothing, and is for nobody where who asked has gone.
    #[must_use]
    pub const fn only_asks(&self) -> bool {
        match self {
            Self::Hello { .. }
            | Self::Status { .. }
            | Self::Metrics { .. }
            | Self::Tools { .. }
            | Self::Sent { .. }
            | Self::Tail { .. }
            | Self::Identity { .. }
            | Self::Config
            | Self::Doctor { .. } => true,
            Self::Consent { action, .. } => matches!(
                action,
                ConsentAction::Show | ConsentAction::Explain | ConsentAction::Log
            ),
            Self::Queue { action, .. } => !matches!(action, QueueAction::Requeue | QueueAction::Purge),
            Self::Everybody(request) => request.only_asks(),
            Self::Register { .. }
            | Self::Forget { .. }
            | Self::Flush { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Reload
            | Self::Stop { .. } => false,
        }
    }

    fn hello(keys: &Keys<'_>) -> Result<Self, Rejected> {
        let protocol = keys.number("protocol")?.unwrap_or(u64::from(PROTOCOL));
        if protocol != u64::from(PROTOCOL) {
            return Err(Rejected {
                code: ErrorCode::UnsupportedProtocol,
                message: format!("protocol: this daemon speaks {PROTOCOL}"),
            });
        }
        Ok(Self::Hello {
            protocol,
            client: keys.owned("client")?,
        })
    }

    /// A project denies for one tool, whose file it was; nothing else is said of a project here.
    fn consent(keys: &Keys<'_>) -> Result<Self, Rejected> {
        let (action, tool) = (keys.consent_action()?, keys.tool()?);
        let project = keys.owned("project")?;
        let key = project.as_deref();
        if key.is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
            return Err(keys.wrong("project", "a string of 1 to 256 bytes"));
        }
        if key.is_some() && action == ConsentAction::Deny && tool.is_none() {
            return Err(Rejected::key("tool", "the tool that the project denies", None));
        }
        if key.is_some() && matches!(action, ConsentAction::Allow | ConsentAction::Reset) {
            return Err(keys.wrong("project", "none: what a project allows stands in its own files"));
        }
        Ok(Self::Consent {
            action,
            tool,
            project,
            limit: keys.number("limit")?,
        })
    }

    fn tools(keys: &Keys<'_>) -> Result<Self, Rejected> {
        match keys.text("action", LIST_OR_SHOW)? {
            None | Some("list") => Ok(Self::Tools { tool: None }),
            Some("show") => match keys.tool()? {
                Some(tool) => Ok(Self::Tools { tool: Some(tool) }),
                None => Err(Rejected::key("tool", "the tool to show", None)),
            },
            Some(_) => Err(keys.wrong("action", LIST_OR_SHOW)),
        }
    }
}

const LIST_OR_SHOW: &str = "\"list\" or \"show\"";

#[cfg(test)]
mod tests;
