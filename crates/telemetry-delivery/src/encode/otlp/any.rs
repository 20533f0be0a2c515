//! `AnyValue` of OpenTelemetry's common.proto, from JSON.

use serde_json::Value;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Any {
    /// No value: null.
    Empty,
    Text(String),
    Flag(bool),
    Int(i64),
    Double(f64),
    Array(Vec<Any>),
    List(Vec<(String, Any)>),
}

impl Any {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Of raw JSON. An integer that an int64 cannot hold becomes a double.
    pub(super) fn of(raw: &str) -> Self {
        serde_json::from_str(raw).map_or(Self::Empty, Self::value)
    }

    fn value(value: Value) -> Self {
        match value {
            Value::Null => Self::Empty,
            Value::Bool(flag) => Self::Flag(flag),
            Value::Number(number) => match number.as_i64() {
                Some(int) => Self::Int(int),
                None => number.as_f64().map_or(Self::Empty, Self::Double),
            },
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::value).collect()),
            Value::Object(members) => Self::List(
                members
                    .into_iter()
                    .map(|(name, value)| (name, Self::value(value)))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_json_has_its_kind_of_value() {
        let of =
            Any::of(r#"{"a":[1,1.5,"x",true,null],"big":18446744073709551615,"min":-9223372036854775808}"#);
        assert_eq!(
            of,
            Any::List(vec![
                (
                    "a".into(),
                    Any::Array(vec![
                        Any::Int(1),
                        Any::Double(1.5),
                        Any::text("x"),
                        Any::Flag(true),
                        Any::Empty
                    ])
                ),
                ("big".into(), Any::Double(18_446_744_073_709_551_615.0)),
                ("min".into(), Any::Int(i64::MIN)),
            ])
        );
    }
}
