//! Values on their way to the disk: each string by the value rules, each listed property by its type and its rule
//! (I4). Works on the raw JSON; what is not changed is copied as it came, so that no number is rounded.

use std::borrow::Cow;

use telemetry_protocol::json::kind_of;
use telemetry_protocol::json::walk::{self, Text as Raw, push_string};
use telemetry_protocol::mask::{Vocabulary, mask_again};

use super::Keeper;
use super::fold::{Fold, Folded};
use super::report::{Report, Why};
use crate::manifest::property::{Kind, Listed, Property, Rule, Table, Text, Wild};
use crate::redact::{self, Subject};

/// What an integer may be: 64 bits, with a sign or without one.
const INTEGERS: std::ops::RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;
/// Characters of a number. The longest that a shortest-form writer makes of a double is 24.
const NUMBER: usize = 32;

/// Where a value stands; its name is only made when somebody has to be told.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) above: Option<&'p Place<'p>>,
    pub(super) name: &'p str,
}

impl<'p> Place<'p> {
    pub(super) const fn top(name: &'p str) -> Self {
        Self { above: None, name }
    }

    pub(super) const fn below(&'p self, name: &'p str) -> Self {
        Self {
            above: Some(self),
            name,
        }
    }

    fn path(&self, subject: &Subject) -> String {
        // A name that nobody listed may hold anything.
        let name: String = redact::text(self.name, subject).chars().take(64).collect();
        match self.above {
            Some(above) => format!("{}.{name}", above.path(subject)),
            None => name,
        }
    }
}

/// What all values of one event are judged by.
pub(super) struct Values<'v> {
    pub(super) subject: &'v Subject,
    pub(super) tool: &'v str,
    pub(super) epoch: u64,
    pub(super) vocabulary: Option<&'v Vocabulary>,
    pub(super) keeper: &'v mut dyn Keeper,
    pub(super) report: &'v mut Report,
}

impl Values<'_> {
    fn remove(&mut self, why: Why, place: Place<'_>, expected: Option<(&'static str, &'static str)>) {
        let subject = self.subject;
        self.report.add(why, || place.path(subject), expected);
    }

    /// A text by the value rules.
    fn ruled<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        self.counted(redact::text(text, self.subject))
    }

    fn counted<'t>(&mut self, ruled: Cow<'t, str>) -> Cow<'t, str> {
        self.report.masked += u32::from(matches!(ruled, Cow::Owned(_)));
        ruled
    }

    /// A raw string by the value rules.
    pub(super) fn string(&mut self, raw: &str, out: &mut Vec<u8>) {
        let Some(text) = Raw::of(raw) else { return };
        if redact::is_quiet(text.raw(), self.subject) {
            out.extend_from_slice(raw.as_bytes());
            return;
        }
        let text = text.get();
        let ruled = match &text {
            Cow::Borrowed(plain) => redact::loud(plain, self.subject),
            Cow::Owned(unescaped) => redact::text(unescaped, self.subject),
        };
        match self.counted(ruled) {
            Cow::Borrowed(_) => out.extend_from_slice(raw.as_bytes()),
            Cow::Owned(ruled) => push_string(out, &ruled),
        }
    }

    /// An object of which nothing is listed. Almost always it is stored as it came.
    pub(super) fn free_object(&mut self, raw: &str, place: Place<'_>, out: &mut Vec<u8>) {
        if redact::is_quiet_json(raw, self.subject) {
            out.extend_from_slice(raw.as_bytes());
        } else {
            self.free(raw, place, out);
        }
    }

    /// Any value, by the value rules alone. A member whose name they find fault with is left out.
    fn free(&mut self, raw: &str, place: Place<'_>, out: &mut Vec<u8>) {
        match raw.as_bytes().first() {
            Some(b'"') => self.string(raw, out),
            Some(b'{') => {
                out.push(b'{');
                let from = out.len();
                for member in walk::members(raw) {
                    self.free_member(member, place, from, out);
                }
                out.push(b'}');
            }
            Some(b'[') => {
                out.push(b'[');
                for (nth, item) in walk::items(raw).enumerate() {
                    if nth > 0 {
                        out.push(b',');
                    }
                    self.free(item, place, out);
                }
                out.push(b']');
            }
            _ => out.extend_from_slice(raw.as_bytes()),
        }
    }

    /// A member of an object that begins at `from`, by the value rules alone.
    pub(super) fn free_member(
        &mut self,
        (key, value): (Raw<'_>, &str),
        above: Place<'_>,
        from: usize,
        out: &mut Vec<u8>,
    ) {
        let quiet = redact::is_quiet(key.raw(), self.subject);
        let name = match quiet {
            true => Cow::Borrowed(key.raw()),
            false => key.get(),
        };
        let place = above.below(&name);
        if !quiet && matches!(redact::text(&name, self.subject), Cow::Owned(_)) {
            self.remove(Why::Name, place, None);
            return;
        }
        begin(key.raw(), from, out);
        self.free(value, place, out);
    }

    /// A member that is held against what `table` lists as `kind`.
    pub(super) fn listed(
        &mut self,
        (table, kind): (&Table, &str),
        (key, value): (&str, &str),
        place: Place<'_>,
        from: usize,
        out: &mut Vec<u8>,
    ) {
        if let Some(Listed::Exact(_, property)) = table.find(kind) {
            let mark = out.len();
            begin(key, from, out);
            if !self.value(value, property, place, out) {
                out.truncate(mark);
            }
        }
    }

    /// Nobody listed it.
    pub(super) fn unlisted(&mut self, place: Place<'_>) {
        self.remove(Why::Unlisted, place, None);
    }

    /// An object of which `table` lists what may be in it.
    pub(super) fn object(&mut self, raw: &str, table: &Table, place: Place<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        let from = out.len();
        let mut folds: Vec<Fold<'_>> = Vec::new();
        for (key, value) in walk::members(raw) {
            let name = key.get();
            let here = place.below(&name);
            let property = match table.find(&name) {
                None => {
                    self.remove(Why::Unlisted, here, None);
                    continue;
                }
                Some(Listed::Exact(_, property)) => property,
                Some(Listed::Wild(at, wild)) => match self.key(wild, &name) {
                    Key::Kept => &wild.property,
                    Key::Removed(why) => {
                        self.remove(why, here, None);
                        continue;
                    }
                    Key::Folded(into) => {
                        self.fold(&mut folds, at, (wild, into), value, here);
                        continue;
                    }
                },
            };
            if property.drop {
                continue;
            }
            let mark = out.len();
            begin(key.raw(), from, out);
            if !self.value(value, property, here, out) {
                out.truncate(mark);
            }
        }
        for fold in folds {
            fold.write(from, out);
        }
        out.push(b'}');
    }

    /// What becomes of a name that a pattern fits.
    fn key<'w>(&mut self, wild: &'w Wild, name: &str) -> Key<'w> {
        let part = wild.name.part(name).unwrap_or_default();
        let clean = matches!(redact::text(part, self.subject), Cow::Borrowed(_))
            && matches!(redact::text(name, self.subject), Cow::Borrowed(_));
        match &wild.keys {
            None if clean => Key::Kept,
            None => Key::Removed(Why::Name),
            Some(keys) if clean && keys.prefix.iter().any(|prefix| part.starts_with(&**prefix)) => Key::Kept,
            Some(keys) => match &keys.otherwise {
                Some(into) => Key::Folded(into),
                None => Key::Removed(Why::NotListedValue),
            },
        }
    }

    /// Values whose names become one name: numbers are added up, of the others the first counts.
    fn fold<'w>(
        &mut self,
        folds: &mut Vec<Fold<'w>>,
        at: usize,
        (wild, into): (&'w Wild, &'w str),
        value: &str,
        place: Place<'_>,
    ) {
        if wild.property.drop {
            return;
        }
        let known = folds.iter().position(|fold| fold.at == at);
        let mut written = Vec::new();
        if !self.value(value, &wild.property, place, &mut written) {
            return;
        }
        let value = match (
            &wild.property.kind,
            std::str::from_utf8(&written).unwrap_or_default(),
        ) {
            (_, "null") => return,
            (Kind::Integer, number) => Folded::Integer(number.parse().unwrap_or_default()),
            (Kind::Number, number) => Folded::Number(number.parse().unwrap_or_default()),
            _ => Folded::First(written),
        };
        match (known.and_then(|known| folds.get_mut(known)), value) {
            (None, value) => folds.push(Fold {
                at,
                wild,
                into,
                value,
            }),
            (Some(fold), value) => match (&mut fold.value, value) {
                (Folded::Integer(sum), Folded::Integer(more)) => {
                    *sum = (*sum + more).clamp(*INTEGERS.start(), *INTEGERS.end());
                }
                (Folded::Number(sum), Folded::Number(more)) => *sum += more,
                _ => self.remove(Why::NotListedValue, place, None),
            },
        }
    }

    /// A listed value; `false`: it is not to be kept, and what was written of it has to go.
    fn value(&mut self, raw: &str, property: &Property, place: Place<'_>, out: &mut Vec<u8>) -> bool {
        let first = raw.as_bytes().first();
        let whole = |raw: &str| raw.parse::<i64>().is_ok() || raw.parse::<u64>().is_ok();
        match (&property.kind, first) {
            (_, Some(b'n')) => {
                out.extend_from_slice(b"null");
                true
            }
            (Kind::String(text), Some(b'"')) => self.text(raw, text, place, out),
            (Kind::Integer, Some(b'-' | b'0'..=b'9')) if whole(raw) => copy(raw, out),
            (Kind::Number, Some(b'-' | b'0'..=b'9')) if raw.len() <= NUMBER => copy(raw, out),
            (Kind::Boolean, Some(b't' | b'f')) => copy(raw, out),
            (Kind::Array { items, max_items }, Some(b'[')) => {
                self.array(raw, items, *max_items, place, out);
                true
            }
            (Kind::Object(table), Some(b'{')) => {
                self.object(raw, table, place, out);
                true
            }
            (kind, _) => {
                let expected = Some((kind.as_str(), kind_of(raw)));
                self.remove(Why::WrongType, place, expected);
                false
            }
        }
    }

    fn array(&mut self, raw: &str, items: &Property, max: usize, place: Place<'_>, out: &mut Vec<u8>) {
        out.push(b'[');
        let from = out.len();
        for (nth, item) in walk::items(raw).enumerate() {
            if nth >= max {
                self.remove(Why::TooLong, place, None);
                break;
            }
            let mark = out.len();
            if mark > from {
                out.push(b',');
            }
            if items.drop || !self.value(item, items, place, out) {
                out.truncate(mark);
            }
        }
        out.push(b']');
    }

    fn text(&mut self, raw: &str, text: &Text, place: Place<'_>, out: &mut Vec<u8>) -> bool {
        let found = Raw::of(raw).map_or(Cow::Borrowed(""), Raw::get);
        if !text.only.is_empty() {
            // What the manifest lists is public.
            if text.only.iter().any(|known| **known == *found) {
                return copy(raw, out);
            }
            let Some(otherwise) = &text.otherwise else {
                self.remove(Why::NotListedValue, place, None);
                return false;
            };
            push_string(out, otherwise);
            return true;
        }
        // What is empty names nothing.
        if text.rule == Rule::Hash && !found.is_empty() {
            push_string(out, &self.keeper.pseudonyms(self.tool, self.epoch).hash(&found));
            return true;
        }
        let masked = match text.rule {
            Rule::MaskCommand => mask_again(&found, self.tool, self.vocabulary),
            Rule::None | Rule::Hash => Cow::Borrowed(&*found),
        };
        let ruled = self.ruled(&masked);
        let kept = cut(&ruled, text.max);
        if kept.len() < ruled.len() {
            self.remove(Why::TooLong, place, None);
        }
        // As it came, escapes and all, where nothing was changed.
        if kept == &*found {
            return copy(raw, out);
        }
        push_string(out, kept);
        true
    }
}

enum Key<'w> {
    Kept,
    Removed(Why),
    Folded(&'w str),
}

/// A member's comma, name and colon.
fn begin(raw_key: &str, from: usize, out: &mut Vec<u8>) {
    if out.len() > from {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(raw_key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn copy(raw: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(raw.as_bytes());
    true
}

/// The first `max` characters.
fn cut(text: &str, max: usize) -> &str {
    // So few bytes are no more characters.
    if text.len() <= max {
        return text;
    }
    text.char_indices()
        .nth(max)
        .map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}
