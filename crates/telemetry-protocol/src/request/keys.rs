//! The keys of a control request: each is read by its shape, and a wrong one is named by its key, never by its value.

use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{ConsentAction, QueueAction};
use crate::event::Rejected;
use crate::limits::is_tool_name;

const QUEUE_ACTIONS: &str = "\"list\", \"show\", \"next_batch\", \"purge\", \"parked\" or \"requeue\"";
const CONSENT_ACTIONS: &str = "\"show\", \"explain\", \"allow\", \"deny\", \"reset\", \"noticed\" or \"log\"";

pub(super) struct Keys<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Keys<'a> {
    pub(super) fn wrong(&self, key: &str, expected: &str) -> Rejected {
        let raw = self.0.get(key).map(Value::to_string);
        Rejected::key(key, expected, raw.as_deref())
    }

    pub(super) fn present(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str, expected: &str) -> Result<Option<&'a str>, Rejected> {
        match self.present(key) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(key, expected)),
        }
    }

    pub(super) fn owned(&self, key: &str) -> Result<Option<String>, Rejected> {
        Ok(self.text(key, "a string")?.map(ToOwned::to_owned))
    }

    pub(super) fn required(&self, key: &str, expected: &str) -> Result<&'a str, Rejected> {
        self.text(key, expected)?.ok_or_else(|| self.wrong(key, expected))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Rejected> {
        match self.present(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Rejected> {
        match self.present(key) {
            None => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| self.wrong(key, "a whole number, not negative")),
        }
    }

    pub(super) fn millis(&self, key: &str) -> Result<Option<Duration>, Rejected> {
        Ok(self.number(key)?.map(Duration::from_millis))
    }

    pub(super) fn tool(&self) -> Result<Option<String>, Rejected> {
        const TOOL: &str = "a string like [a-z0-9][a-z0-9._-]{0,63}";
        match self.text("tool", TOOL)? {
            None => Ok(None),
            Some(name) if is_tool_name(name) => Ok(Some(name.to_owned())),
            Some(_) => Err(self.wrong("tool", TOOL)),
        }
    }

    pub(super) fn id(&self) -> Result<Option<Uuid>, Rejected> {
        match self.text("id", "a UUID")? {
            None => Ok(None),
            Some(text) => Uuid::try_parse(text)
                .map(Some)
                .map_err(|_| self.wrong("id", "a UUID")),
        }
    }

    pub(super) fn queue_action(&self) -> Result<QueueAction, Rejected> {
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

    pub(super) fn consent_action(&self) -> Result<ConsentAction, Rejected> {
        Ok(match self.required("action", CONSENT_ACTIONS)? {
            "show" => ConsentAction::Show,
            "explain" => ConsentAction::Explain,
            "allow" => ConsentAction::Allow,
            "deny" => ConsentAction::Deny,
            "reset" => ConsentAction::Reset,
            "noticed" => ConsentAction::Noticed,
            "log" => ConsentAction::Log,
            _ => return Err(self.wrong("action", CONSENT_ACTIONS)),
        })
    }
}
