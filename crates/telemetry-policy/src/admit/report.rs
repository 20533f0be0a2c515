//! What was taken out of an event, and why: counted always, named for whoever watches or checks.

/// Names that are remembered of one event (I6); the numbers go on.
const NAMES: usize = 32;

/// Why something is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The manifest does not list it.
    Unlisted,
    /// It is of another type than the manifest says.
    WrongType,
    /// It is none of the values that the manifest lists.
    NotListedValue,
    /// Its end was cut off: it is longer than the manifest says.
    TooLong,
    /// Its name holds what the value rules take out.
    Name,
}

impl Why {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unlisted => "unlisted",
            Self::WrongType => "wrong_type",
            Self::NotListedValue => "not_in_enum",
            Self::TooLong => "too_long",
            Self::Name => "name",
        }
    }

    /// Every one, in order.
    pub const ALL: [Self; 5] = [
        Self::Unlisted,
        Self::WrongType,
        Self::NotListedValue,
        Self::TooLong,
        Self::Name,
    ];
}

/// One thing that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its name, by the value rules; `properties.` or `context.` stand before it.
    pub name: String,
    /// Why.
    pub why: Why,
    /// What the manifest expects there, and what was found: for a wrong type.
    pub expected: Option<(&'static str, &'static str)>,
}

/// All that was taken out of one event. One is lent again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    counts: [u32; Why::ALL.len()],
    names: Vec<Removed>,
    /// Strings in which the value rules found something.
    pub masked: u32,
}

impl Report {
    /// As it was made.
    pub fn clear(&mut self) {
        self.counts = [0; Why::ALL.len()];
        self.names.clear();
        self.masked = 0;
    }

    /// Whether nothing was taken out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts == [0; Why::ALL.len()]
    }

    /// How many for this reason.
    #[must_use]
    pub fn count(&self, why: Why) -> u32 {
        self.counts[why as usize]
    }

    /// The first of them by name.
    #[must_use]
    pub fn names(&self) -> &[Removed] {
        &self.names
    }

    pub(super) fn add(
        &mut self,
        why: Why,
        name: impl FnOnce() -> String,
        expected: Option<(&'static str, &'static str)>,
    ) {
        self.counts[why as usize] += 1;
        if self.names.len() < NAMES {
            let name = name();
            self.names.push(Removed { name, why, expected });
        }
    }
}
