//! Which table a row belongs to, told by its shape alone: the page that says so may be broken.
//!
//! The shapes are those of `schema::V1`; no two of its tables share one. A later version that adds a column
//! adds its shape here, and keeps the old one for as long as such files may exist.

use super::pages::{Cell, Value};
use crate::types::Id;

/// A lane as its own row has it, or (without books) as the index of its names has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LaneRow {
    pub(super) n: i64,
    pub(super) uid: i64,
    pub(super) destination: String,
    pub(super) tool: String,
    pub(super) books: Option<Books>,
}

/// The books of a lane; `queued` and `parked` are counted anew, and kept to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) next_seq: i64,
    pub(super) accepted: i64,
    pub(super) delivered: i64,
    pub(super) parked: i64,
    pub(super) queued: i64,
    pub(super) evicted: i64,
    pub(super) expired: i64,
    pub(super) purged: i64,
    pub(super) lost: i64,
}

impl Books {
    /// Whether they can be believed: a law that random bytes do not keep.
    fn credible(&self) -> bool {
        let parts = [
            self.delivered,
            self.parked,
            self.queued,
            self.evicted,
            self.expired,
            self.purged,
            self.lost,
        ];
        let sum = parts.iter().try_fold(
            0_i64,
            |sum, &part| if part < 0 { None } else { sum.checked_add(part) },
        );
        self.next_seq > 0 && sum == Some(self.accepted)
    }
}

/// A member range of a batch or a sent row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberRow {
    pub(super) batch: i64,
    pub(super) lane: i64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) events: i64,
    pub(super) bytes: i64,
}

/// A row, by its table. Columns that salvage only copies stay as they are, in the table's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Boot {
        n: i64,
        id: Id,
    },
    Lane(LaneRow),
    Segment {
        key: i64,
        body: Vec<u8>,
    },
    Batch {
        n: i64,
        rest: Vec<Value>,
    },
    Member(MemberRow),
    Root {
        n: i64,
        rest: Vec<Value>,
    },
    Sent {
        n: i64,
        rest: Vec<Value>,
    },
    Parked {
        n: i64,
        lane: i64,
        rest: Vec<Value>,
    },
    Loss {
        uid: i64,
        destination: String,
        losses: [i64; 3],
    },
    Destination {
        name: String,
        state: String,
    },
    Salvage {
        file: String,
        rows: i64,
        lost: i64,
    },
}

/// One letter a column: integer, blob, text, `?` for a blob or nothing, `~` for a text or nothing.
/// The column of the rowid itself, which a record holds as NULL, is left out.
const LANE: &str = "ittiiiiiiiiiii";
const BATCH: &str = "biiitii?i~iiiiiiii";
const ROOT: &str = "iiiii";
const SENT: &str = "bitiiiiiiitiii";
const PARKED: &str = "ib?iiiiiiiiibb";

fn matches(values: &[Value], shape: &str) -> bool {
    values.len() == shape.len()
        && values.iter().zip(shape.bytes()).all(|(value, kind)| match kind {
            b'i' => matches!(value, Value::Integer(_)),
            b'b' => matches!(value, Value::Blob(_)),
            b't' => matches!(value, Value::Text(_)),
            b'?' => matches!(value, Value::Blob(_) | Value::Null),
            _ => matches!(value, Value::Text(_) | Value::Null),
        })
}

/// Tells the table of `cell`; `None` where it is of none that salvage carries over.
pub(super) fn shape(cell: Cell) -> Option<Shape> {
    match cell.rowid {
        Some(n) => table_row(n, cell.values),
        None => index_row(cell.values),
    }
}

fn table_row(n: i64, mut values: Vec<Value>) -> Option<Shape> {
    if n <= 0 || values.first() != Some(&Value::Null) {
        return None;
    }
    values.remove(0);
    if let [Value::Blob(blob)] = values.as_mut_slice() {
        return Some(match Id::try_from(blob.as_slice()) {
            Ok(id) => Shape::Boot { n, id },
            Err(_) => Shape::Segment {
                key: n,
                body: std::mem::take(blob),
            },
        });
    }
    if matches(&values, LANE) {
        return lane(n, &values).map(Shape::Lane);
    }
    let id_is_whole = |value: Option<&Value>| matches!(value, Some(Value::Blob(id)) if id.len() == 16);
    if matches(&values, BATCH) && id_is_whole(values.first()) {
        return Some(Shape::Batch { n, rest: values });
    }
    if matches(&values, SENT) && id_is_whole(values.first()) {
        return Some(Shape::Sent { n, rest: values });
    }
    if matches(&values, PARKED) && id_is_whole(values.get(1)) {
        let Value::Integer(lane) = values.remove(0) else {
            return None;
        };
        return Some(Shape::Parked {
            n,
            lane,
            rest: values,
        });
    }
    matches(&values, ROOT).then_some(Shape::Root { n, rest: values })
}

fn lane(n: i64, values: &[Value]) -> Option<LaneRow> {
    let mut numbers = [0; 10];
    for (number, value) in numbers.iter_mut().zip(&values[3..]) {
        let Value::Integer(value) = value else { return None };
        *number = *value;
    }
    let [
        next_seq,
        accepted,
        delivered,
        parked,
        queued,
        evicted,
        expired,
        purged,
        lost,
        _bytes,
    ] = numbers;
    let books = Books {
        next_seq,
        accepted,
        delivered,
        parked,
        queued,
        evicted,
        expired,
        purged,
        lost,
    };
    match values {
        [
            Value::Integer(uid),
            Value::Text(destination),
            Value::Text(tool),
            ..,
        ] => Some(LaneRow {
            n,
            uid: *uid,
            destination: destination.clone(),
            tool: tool.clone(),
            books: books.credible().then_some(books),
        }),
        _ => None,
    }
}

fn index_row(values: Vec<Value>) -> Option<Shape> {
    match values.as_slice() {
        [
            Value::Integer(batch),
            Value::Integer(lane),
            Value::Integer(first),
            Value::Integer(last),
            Value::Integer(events),
            Value::Integer(bytes),
        ] => Some(Shape::Member(MemberRow {
            batch: *batch,
            lane: *lane,
            first: *first,
            last: *last,
            events: *events,
            bytes: *bytes,
        })),
        [
            Value::Integer(uid),
            Value::Text(destination),
            Value::Text(tool),
            Value::Integer(n),
        ] => {
            let (destination, tool) = (destination.clone(), tool.clone());
            Some(Shape::Lane(LaneRow {
                n: *n,
                uid: *uid,
                destination,
                tool,
                books: None,
            }))
        }
        [
            Value::Integer(uid),
            Value::Text(destination),
            Value::Integer(evicted),
            Value::Integer(expired),
            Value::Integer(quota),
        ] => Some(Shape::Loss {
            uid: *uid,
            destination: destination.clone(),
            losses: [*evicted, *expired, *quota],
        }),
        [Value::Text(name), Value::Text(state)] => Some(Shape::Destination {
            name: name.clone(),
            state: state.clone(),
        }),
        [Value::Text(file), Value::Integer(rows), Value::Integer(lost)] => Some(Shape::Salvage {
            file: file.clone(),
            rows: *rows,
            lost: *lost,
        }),
        _ => None,
    }
}
