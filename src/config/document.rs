//! YAML as a tree in which every key and value knows its line and column.
//!
//! serde's derived types stop at the first thing that is wrong and know only the keys of one
//! struct. Here the parser (serde-saphyr) only builds this tree; what the keys mean is read from it
//! by [`super::reader`], which can then name every mistake in a file at once, each with its place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::Complaint;

/// Where something is written; lines and columns count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

/// A key and its place.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) at: Place,
    pub(super) name: String,
}

/// What YAML can say.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// What it is, for people who wrote something else than was expected.
    pub(super) fn described(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Integer(value) => format!("`{value}`"),
            Self::Float(value) => format!("`{value}`"),
            Self::Text(value) => format!("{value:?}"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a section".to_owned(),
        }
    }
}

/// Values of a document.
const MAX_NODES: usize = 5_000_000;

/// Parses a document; an empty one is null.
pub(super) fn parse(text: &str) -> Result<Node, Complaint> {
    let mut options = serde_saphyr::Options::default();
    options.strict_booleans = true;
    options.with_snippet = false;
    // Nobody reads them, and the parser's look-ahead holds no more than a hundred in a row.
    options.emit_comments = false;
    // What was learned may be ten thousand rows of some dozens of values; whoever reads a file bounds its bytes.
    if let Some(budget) = &mut options.budget {
        budget.max_nodes = MAX_NODES;
        budget.max_events = 2 * MAX_NODES;
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| Complaint {
        at: error.location().map(|location| Place {
            line: location.line(),
            column: location.column(),
        }),
        subject: "no YAML".to_owned(),
        wrong: format!(": {}", plain(&error)),
    })
}

/// The parser's message without the place that it puts around it; ours is elsewhere.
fn plain(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return format!("the key `{key}` is there twice");
    }
    let text = error.to_string();
    let message = text.lines().next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    match message.rsplit_once(" at line ") {
        Some((rest, _)) => rest.to_owned(),
        None => message.to_owned(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            at: place(&spanned.referenced),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self {
            at: place(&spanned.referenced),
            name: spanned.value,
        })
    }
}

fn place(location: &serde_saphyr::Location) -> Place {
    Place {
        line: location.line(),
        column: location.column(),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(node: &Node) -> String {
        let Place { line, column } = node.at;
        match &node.value {
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(outline).collect();
                format!("[{}]@{line}:{column}", items.join(", "))
            }
            Value::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, node)| {
                        let (line, column) = (key.at.line, key.at.column);
                        format!("{}@{line}:{column} {}", key.name, outline(node))
                    })
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
            value => format!("{}@{line}:{column}", value.described()),
        }
    }

    #[test]
    fn everything_has_its_place() {
        let node =
            parse("a: 5s\nb:\n  c: [1, 0.5, true]\n  d: off\n  e:\n'f': '7'\n").expect("YAML");
        assert_eq!(
            outline(&node),
            "{a@1:1 \"5s\"@1:4, b@2:1 {c@3:3 [`1`@3:7, `0.5`@3:10, `true`@3:15]@3:6, \
             d@4:3 \"off\"@4:6, e@5:3 nothing@5:4}, f@6:1 \"7\"@6:6}"
        );
    }

    #[test]
    fn an_empty_document_is_null() {
        for text in ["", "# nothing\n", "---\n"] {
            let node = parse(text).expect("YAML");
            assert!(matches!(node.value, Value::Null), "{text:?}: {node:?}");
        }
    }

    #[test]
    fn what_is_no_yaml_has_its_place_too() {
        for (text, told) in [
            (
                "a: [1, 2\nb: 3\n",
                "no YAML at line 2, column 2: illegal placement of ':' indicator",
            ),
            (
                "a: 1\na: 2\n",
                "no YAML at line 2, column 1: the key `a` is there twice",
            ),
            (
                "a: 'x\n",
                "no YAML at line 2, column 1: invalid indentation in multiline quoted scalar",
            ),
            (
                "a: 1\n b: 2\n",
                "no YAML at line 2, column 3: mapping values are not allowed in this context",
            ),
        ] {
            let complaint = parse(text).expect_err("no YAML");
            assert_eq!(complaint.to_string(), told, "{text:?}");
        }
    }
}
