//! The closed lists: why an event was not taken, and how one can be lost.

macro_rules! closed_list {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every member, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The member that this word names.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
pub(crate) use closed_list;

closed_list! {
    /// The `error` of an answer (PROTOCOL.md, "Answers").
    ErrorCode {
        /// Not one JSON object, a lone surrogate, or a repeated key.
        InvalidJson = "invalid_json",
        /// A key is missing, of the wrong type or out of bounds, or the nesting is too deep.
        InvalidEvent = "invalid_event",
        /// The line is over `limits.max_event_bytes`.
        TooLarge = "too_large",
        /// `op` names no request of this daemon.
        UnknownOp = "unknown_op",
        /// The tool has no manifest, and `unregistered_tools = "refuse"`.
        UnknownTool = "unknown_tool",
        /// Another major version of the protocol.
        UnsupportedProtocol = "unsupported_protocol",
        /// Policy or the peer's credentials forbid it.
        NotAllowed = "not_allowed",
        /// Over a rate or a connection limit.
        RateLimited = "rate_limited",
        /// The user has as many tools as the queue takes, or the event alone is larger than the queue.
        QueueFull = "queue_full",
        /// Disk full or an I/O error: nothing was stored.
        Storage = "storage",
        /// The daemon drains.
        ShuttingDown = "shutting_down",
        /// A defect of the daemon's.
        Internal = "internal",
    }
}

closed_list! {
    /// How an accepted event can leave without having been delivered. Each is booked (I2, I5).
    LossReason {
        /// The queue was full and this was the oldest of who used most.
        Evicted = "evicted",
        /// Older than `queue.max_age`, or parked for longer than `queue.parked_max_age`.
        Expired = "expired",
        /// Consent was withdrawn, or somebody asked.
        Purged = "purged",
        /// What salvage could not save from a corrupt file.
        Lost = "lost",
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorCode, LossReason};

    #[test]
    fn every_word_names_its_member() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_word(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::ALL.len(), 12);
        assert_eq!(LossReason::from_word("evicted"), Some(LossReason::Evicted));
        assert_eq!(LossReason::from_word("Evicted"), None);
    }
}
