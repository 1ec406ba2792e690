//! How do attributes of every type lie in one column that people can query?
//!
//! As a JSON object: DuckDB, polars and Spark read it, and a key that nobody foresaw needs no column. What JSON has
//! not is an object with one reserved key, so that nothing is lost on the way back:
//!
//! | OTLP | in the column |
//! |---|---|
//! | string, bool, list | as in JSON |
//! | int | a number without point and exponent |
//! | double | a number with one of them; `{"double": "NaN"}`, `"inf"`, `"-inf"` |
//! | bytes | `{"bytes": BASE64}` |
//! | key-value list | `{"kvlist": {…}}` |
//! | no value | `null` |
//!
//! A key that is there twice stays there twice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::Text;

/// Values nest no deeper than this; what is deeper becomes empty, and is counted. Real ones have two or three levels,
/// and serde_json reads 128, of which one of ours may take two.
pub(crate) const MAX_DEPTH: usize = 32;

/// What an attribute may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Empty,
    /// Text.
    Text(Text),
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// Bytes.
    Bytes(Bytes),
    /// Values.
    List(Vec<Value>),
    /// Values with names.
    Map(Attributes),
}

/// Values with names, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(pub Vec<(Text, Value)>);

impl Attributes {
    /// As the column holds them.
    pub fn to_json(&self) -> Text {
        // What may fail is a map with keys that are no text, which there is none of.
        Text::from(serde_json::to_string(self).unwrap_or_default())
    }

    /// From the column.
    ///
    /// # Errors
    /// When it isn't a JSON object.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        match text {
            "" | "{}" => Ok(Self::default()),
            _ => serde_json::from_str(text),
        }
    }

    fn untagged(self) -> Self {
        let entries = self.0.into_iter();
        Self(entries.map(|(key, value)| (key, untagged(value))).collect())
    }

    /// The text of the first attribute of this key.
    pub fn text(&self, key: &str) -> Option<&Text> {
        self.0.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name.as_str() == key => Some(text),
            _ => None,
        })
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Text::from)
    }
}

/// An object with one key.
fn tagged<S: Serializer>(
    serializer: S,
    tag: &str,
    value: &(impl Serialize + ?Sized),
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, value)?;
    map.end()
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Empty => serializer.serialize_unit(),
            Self::Text(text) => text.serialize(serializer),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Double(value) => tagged(serializer, "double", &value.to_string()),
            Self::Bytes(bytes) => tagged(serializer, "bytes", &BASE64.encode(bytes)),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(attributes) => tagged(serializer, "kvlist", attributes),
        }
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
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

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an attribute's value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Empty)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Double(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        Ok(Value::Map(Attributes(entries(access)?)))
    }
}

/// What the objects of JSON stand for, from the outside in: inside of a key-value list the reserved keys are keys.
fn untagged(value: Value) -> Value {
    match value {
        Value::List(values) => Value::List(values.into_iter().map(untagged).collect()),
        Value::Map(Attributes(mut entries)) => {
            if let [(tag, value)] = &mut entries[..] {
                match (tag.as_str(), value) {
                    ("kvlist", Value::Map(inner)) => {
                        return Value::Map(std::mem::take(inner).untagged());
                    }
                    ("double", Value::Text(text)) => {
                        if let Ok(value) = text.as_str().parse() {
                            return Value::Double(value);
                        }
                    }
                    ("bytes", Value::Text(text)) => {
                        if let Ok(bytes) = BASE64.decode(text.as_str()) {
                            return Value::Bytes(bytes.into());
                        }
                    }
                    _ => {}
                }
            }
            // Somebody else's object: its names are all that is known of its type.
            Value::Map(Attributes(entries).untagged())
        }
        value => value,
    }
}

fn entries<'de, A: MapAccess<'de>>(mut access: A) -> Result<Vec<(Text, Value)>, A::Error> {
    let mut entries = Vec::new();
    while let Some(entry) = access.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Attributes, A::Error> {
        Ok(Attributes(entries(access)?).untagged())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Empty),
            "[a-z\"\\\\é]{0,6}".prop_map(|it| Value::Text(it.into())),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>()
                .prop_filter("NaN equals nothing", |it| !it.is_nan())
                .prop_map(Value::Double),
            prop::collection::vec(any::<u8>(), 0..6).prop_map(|it| Value::Bytes(it.into())),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                any_entries(inner).prop_map(Value::Map),
            ]
        })
    }

    fn any_entries(
        value: impl Strategy<Value = Value> + 'static,
    ) -> impl Strategy<Value = Attributes> {
        let key = prop_oneof![
            "[a-z.]{0,5}",
            Just("bytes".to_owned()),
            Just("kvlist".to_owned())
        ];
        prop::collection::vec((key.prop_map(Text::from), value), 0..4).prop_map(Attributes)
    }

    pub(crate) fn any_attributes() -> impl Strategy<Value = Attributes> {
        any_entries(any_value())
    }

    #[test]
    fn people_can_read_it() {
        let attributes = Attributes(vec![
            ("http.route".into(), Value::Text("/a\"b".into())),
            ("n".into(), Value::Int(1)),
            ("share".into(), Value::Double(1.0)),
            ("none".into(), Value::Double(f64::NAN)),
            ("raw".into(), Value::Bytes(vec![1, 2].into())),
            (
                "all".into(),
                Value::List(vec![Value::Bool(true), Value::Empty]),
            ),
            (
                "n".into(),
                Value::Map(Attributes(vec![("a".into(), Value::Int(2))])),
            ),
        ]);
        let text = r#"{"http.route":"/a\"b","n":1,"share":1.0,"none":{"double":"NaN"},"raw":{"bytes":"AQI="},"all":[true,null],"n":{"kvlist":{"a":2}}}"#;
        assert_eq!(attributes.to_json().as_str(), text);
        let read = Attributes::from_json(text).expect("it is one");
        assert_eq!(read.to_json().as_str(), text);
        assert_eq!(attributes.text("http.route"), Some(&"/a\"b".into()));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_in_the_column(attributes in any_attributes()) {
            let text = attributes.to_json();
            let read = Attributes::from_json(text.as_str()).expect("it was written here");
            prop_assert_eq!(&read, &attributes, "{}", text);
        }
    }
}
