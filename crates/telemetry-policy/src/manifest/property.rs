//! What one property may be: its type, its bounds, its rule. Made once from the manifest, in a shape that an
//! event's bytes are held against without making values of them (I4).

/// Characters of a string whose `max` nobody gave.
pub(super) const MAX: usize = 256;

/// A listed property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its type.
    pub kind: Kind,
    /// It is known, and never kept.
    pub drop: bool,
    /// One line about it.
    pub about: Option<Box<str>>,
}

/// A property's type. Null is a value of every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `string`.
    String(Text),
    /// `integer`: without fraction and exponent.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
    /// `array`.
    Array {
        /// What each item is.
        items: Box<Property>,
        /// Those after so many are cut off.
        max_items: usize,
    },
    /// `object`, with the keys that it may have.
    Object(Table),
}

impl Kind {
    /// The word of the manifest.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array { .. } => "array",
            Self::Object(_) => "object",
        }
    }
}

/// What a string may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Characters; the rest is cut off.
    pub max: usize,
    /// `enum`: these values alone, which are public; empty: any.
    pub only: Vec<Box<str>>,
    /// `else`: what stands for every other value.
    pub otherwise: Option<Box<str>>,
    /// What is done to it.
    pub rule: Rule,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            max: MAX,
            only: Vec::new(),
            otherwise: None,
            rule: Rule::None,
        }
    }
}

/// What is done to a string before it is stored, beside the value rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Nothing more.
    #[default]
    None,
    /// `hash = true`: only its keyed hash is kept.
    Hash,
    /// `mask = "command"`: a command line, whose values are masked.
    MaskCommand,
}

/// A property whose name has a `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wild {
    /// Its name.
    pub name: Pattern,
    /// Which words may stand for the `*`; `None`: any, by the value rules.
    pub keys: Option<Keys>,
    /// What it is.
    pub property: Property,
}

/// Which words may stand for a `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Those that begin with one of these.
    pub prefix: Vec<Box<str>>,
    /// What stands for every other; `None`: it is removed.
    pub otherwise: Option<Box<str>>,
}

/// A name with at most one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands before the `*`.
    pub before: Box<str>,
    /// What stands after it.
    pub after: Box<str>,
}

impl Pattern {
    /// `None` where there is no `*`, or more than one.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (before, after) = name.split_once('*')?;
        (!after.contains('*')).then(|| Self {
            before: before.into(),
            after: after.into(),
        })
    }

    /// What stands for the `*` in `name`.
    #[must_use]
    pub fn part<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(&*self.before)?.strip_suffix(&*self.after)
    }

    /// As the manifest writes it.
    #[must_use]
    pub fn written(&self) -> String {
        format!("{}*{}", self.before, self.after)
    }

    /// Letters that have to be there: of two that fit, the longer one counts.
    pub(super) fn letters(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

/// The keys that an object may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// By their names, sorted.
    pub(super) exact: Vec<(Box<str>, Property)>,
    /// By their patterns, the longest first.
    pub(super) wild: Vec<Wild>,
}

/// How a key is listed.
#[derive(Clone, Copy, Debug)]
pub enum Listed<'t> {
    /// By its name.
    Exact(&'t str, &'t Property),
    /// By a pattern, the so manieth of its table.
    Wild(usize, &'t Wild),
}

impl Table {
    /// How `name` is listed, if it is.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Listed<'_>> {
        if let Ok(at) = self.exact.binary_search_by(|(known, _)| (**known).cmp(name)) {
            let (known, property) = self.exact.get(at)?;
            return Some(Listed::Exact(known, property));
        }
        let fits = |(_, wild): &(usize, &Wild)| wild.name.part(name).is_some();
        let (at, wild) = self.wild.iter().enumerate().find(fits)?;
        Some(Listed::Wild(at, wild))
    }

    /// All of them, as the manifest writes their names: those by name in order, then those by pattern.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Property)> {
        let exact = self
            .exact
            .iter()
            .map(|(name, property)| (name.to_string(), property));
        exact.chain(self.wild.iter().map(|wild| (wild.name.written(), &wild.property)))
    }

    /// Those with a `*`.
    #[must_use]
    pub fn wild(&self) -> &[Wild] {
        &self.wild
    }

    /// Lists one more.
    pub(crate) fn list(&mut self, name: &str, property: Property) {
        self.exact.push((name.into(), property));
        self.exact.sort_by(|a, b| a.0.cmp(&b.0));
    }
}
