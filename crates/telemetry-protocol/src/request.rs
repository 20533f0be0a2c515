//! The control requests: lines with an `op` (PROTOCOL.md, "Control").

use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::PROTOCOL;
use crate::event::Rejected;
use crate::limits::is_tool_name;
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
    },
    Tools {
        tool: Option<String>,
    },
    Queue {
        action: QueueAction,
        filter: RowFilter,
        limit: Option<u64>,
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
}

/// What a `consent` request asks for (so far: the user's own word and what follows from it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of CONSENT.md")]
pub enum ConsentAction {
    Show,
    Explain,
    Allow,
    Deny,
    Reset,
    Noticed,
}

/// Every `op`, as `unknown_op` lists them.
pub const OPS: &[&str] = &[
    "hello", "register", "status", "metrics", "flush", "pause", "resume", "consent", "tools", "queue",
    "sent", "tail", "config", "doctor", "reload", "stop",
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
        Ok(match keys.text("op", "a string")?.unwrap_or_default() {
            "hello" => Self::hello(&keys)?,
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
            "consent" => Self::Consent {
                action: keys.consent_action()?,
                tool: keys.tool()?,
            },
            "tools" => Self::tools(&keys)?,
            "queue" => Self::Queue {
                action: keys.queue_action()?,
                filter: RowFilter {
                    tool: keys.tool()?,
                    destination: keys.owned("destination")?,
                    id: keys.id()?,
                },
                limit: keys.number("limit")?,
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
            | Self::Config
            | Self::Doctor { .. } => true,
            Self::Consent { action, .. } => matches!(action, ConsentAction::Show | ConsentAction::Explain),
            Self::Queue { action, .. } => !matches!(action, QueueAction::Requeue | QueueAction::Purge),
            Self::Register { .. }
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
const QUEUE_ACTIONS: &str = "\"list\", \"show\", \"next_batch\", \"purge\", \"parked\" or \"requeue\"";
const CONSENT_ACTIONS: &str = "\"show\", \"explain\", \"allow\", \"deny\", \"reset\" or \"noticed\"";

struct Keys<'a>(&'a Map<String, Value>);

impl<'a> Keys<'a> {
    fn wrong(&self, key: &str, expected: &str) -> Rejected {
        let raw = self.0.get(key).map(Value::to_string);
        Rejected::key(key, expected, raw.as_deref())
    }

    fn present(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str, expected: &str) -> Result<Option<&'a str>, Rejected> {
        match self.present(key) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(key, expected)),
        }
    }

    fn owned(&self, key: &str) -> Result<Option<String>, Rejected> {
        Ok(self.text(key, "a string")?.map(ToOwned::to_owned))
    }

    fn required(&self, key: &str, expected: &str) -> Result<&'a str, Rejected> {
        self.text(key, expected)?.ok_or_else(|| self.wrong(key, expected))
    }

    fn flag(&self, key: &str) -> Result<bool, Rejected> {
        match self.present(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Rejected> {
        match self.present(key) {
            None => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| self.wrong(key, "a whole number, not negative")),
        }
    }

    fn millis(&self, key: &str) -> Result<Option<Duration>, Rejected> {
        Ok(self.number(key)?.map(Duration::from_millis))
    }

    fn tool(&self) -> Result<Option<String>, Rejected> {
        const TOOL: &str = "a string like [a-z0-9][a-z0-9._-]{0,63}";
        match self.text("tool", TOOL)? {
            None => Ok(None),
            Some(name) if is_tool_name(name) => Ok(Some(name.to_owned())),
            Some(_) => Err(self.wrong("tool", TOOL)),
        }
    }

    fn id(&self) -> Result<Option<Uuid>, Rejected> {
        match self.text("id", "a UUID")? {
            None => Ok(None),
            Some(text) => Uuid::try_parse(text)
                .map(Some)
                .map_err(|_| self.wrong("id", "a UUID")),
        }
    }

    fn queue_action(&self) -> Result<QueueAction, Rejected> {
        Ok(match self.required("action", QUEUE_ACTIONS)? {
            "list" => QueueAction::List,
            "show" => QueueAction::Show(self.id()?.ok_or_else(|| self.wrong("id", "the event's id"))?),
            "next_batch" => QueueAction::NextBatch,
            "parked" => QueueAction::Parked,
            "requeue" => QueueAction::Requeue,
            "purge" => QueueAction::Purge,
            _ => return Err(self.wrong("action", QUEUE_ACTIONS)),
        })
    }

    fn consent_action(&self) -> Result<ConsentAction, Rejected> {
        Ok(match self.required("action", CONSENT_ACTIONS)? {
            "show" => ConsentAction::Show,
            "explain" => ConsentAction::Explain,
            "allow" => ConsentAction::Allow,
            "deny" => ConsentAction::Deny,
            "reset" => ConsentAction::Reset,
            "noticed" => ConsentAction::Noticed,
            _ => return Err(self.wrong("action", CONSENT_ACTIONS)),
        })
    }
}

#[cfg(test)]
mod tests;
