//! What is an attribute's value, before anyone has asked for it?
//!
//! Most attributes are never looked at, so a value is a view of the request's bytes, in either
//! encoding, and costs nothing until a fact or a text is wanted of it. Every type is accepted, as
//! the specification demands; whatever isn't text is written as text the way JSON would.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::intern::MAX_TEXT_BYTES;
use super::{json, protobuf};

/// How deep lists and maps are followed; deeper ones are shown as an ellipsis. Nesting comes from
/// outside and must not use up the stack.
const MAX_DEPTH: usize = 16;

/// A view of one `AnyValue`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// Nothing was set, which is a valid value.
    Empty,
    /// Text, where JSON or the exporter hasn't lied.
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    /// Bytes that JSON has in base64 already.
    Base64(&'a [u8]),
    /// The `values` of an `ArrayValue`, in protobuf.
    ProtobufArray(&'a [u8]),
    /// The `values` of a `KeyValueList`, in protobuf.
    ProtobufMap(&'a [u8]),
    /// The `values` of an `ArrayValue`, in JSON.
    JsonArray(&'a str),
    /// The `values` of a `KeyValueList`, in JSON.
    JsonMap(&'a str),
}

impl<'a> Value<'a> {
    /// The value as text, in `scratch` unless it is text already; `None` when nothing was set.
    #[inline]
    pub(crate) fn text<'s>(self, scratch: &'s mut String) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        match self {
            Value::Empty => None,
            Value::Text(text) | Value::Base64(text) => Some(text),
            other => {
                scratch.clear();
                other.write(scratch, 0);
                Some(scratch.as_bytes())
            }
        }
    }

    /// The value as a whole number, from a number or from text.
    pub(crate) fn integer(self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(number),
            Value::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
            Value::Double(number) if number.fract() == 0.0 => Some(number as i64),
            _ => None,
        }
    }

    /// The value as any number, from a number or from text.
    pub(crate) fn number(self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(number as f64),
            Value::Double(number) => Some(number),
            Value::Bool(yes) => Some(f64::from(u8::from(yes))),
            Value::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
            _ => None,
        }
    }

    /// Writes the value as JSON, apart from text at the top level. Stops soon after
    /// [`MAX_TEXT_BYTES`]: more isn't kept.
    fn write(self, out: &mut String, depth: usize) {
        let brief = |bytes: &'a [u8]| &bytes[..bytes.len().min(MAX_TEXT_BYTES)];
        match self {
            Value::Empty => out.push_str("null"),
            Value::Text(text) => quote(&String::from_utf8_lossy(brief(text)), out),
            Value::Base64(text) => quote(&String::from_utf8_lossy(text), out),
            Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            Value::Int(value) => append(out, format_args!("{value}")),
            Value::Double(value) if depth > 0 && !value.is_finite() => {
                append(out, format_args!("\"{value}\""));
            }
            Value::Double(value) => append(out, format_args!("{value}")),
            Value::Bytes(bytes) if depth == 0 => BASE64.encode_string(brief(bytes), out),
            Value::Bytes(bytes) => quote(&BASE64.encode(brief(bytes)), out),
            _ if depth >= MAX_DEPTH => out.push('…'),
            Value::ProtobufArray(_) | Value::JsonArray(_) => {
                out.push('[');
                self.write_elements(out, depth);
                out.push(']');
            }
            Value::ProtobufMap(_) | Value::JsonMap(_) => {
                out.push('{');
                self.write_elements(out, depth);
                out.push('}');
            }
        }
    }

    fn write_elements(self, out: &mut String, depth: usize) {
        let mut first = true;
        let mut element = |key: Option<&[u8]>, value: Value<'_>| {
            if out.len() > MAX_TEXT_BYTES {
                return;
            }
            if !first {
                out.push(',');
            }
            first = false;
            if let Some(key) = key {
                quote(&String::from_utf8_lossy(key), out);
                out.push(':');
            }
            value.write(out, depth + 1);
        };
        let read = match self {
            Value::ProtobufArray(bytes) => {
                protobuf::each_value(bytes, &mut |value| element(None, value)).is_ok()
            }
            Value::ProtobufMap(bytes) => {
                protobuf::each_pair(bytes, &mut |key, value| element(Some(key), value)).is_ok()
            }
            Value::JsonArray(text) => {
                json::each_value(text, &mut |value| element(None, value)).is_ok()
            }
            Value::JsonMap(text) => {
                json::each_pair(text, &mut |key, value| element(Some(key), value)).is_ok()
            }
            _ => true,
        };
        if !read {
            out.push('…');
        }
    }
}

/// Writes to a `String`, which can't fail.
fn append(out: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(what);
}

fn quote(text: &str, out: &mut String) {
    // A string always serializes.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_becomes_text() {
        let cases: [(Value<'_>, Option<&str>); 10] = [
            (Value::Empty, None),
            (
                Value::Text(b"as it is \"quoted\""),
                Some("as it is \"quoted\""),
            ),
            (Value::Bool(true), Some("true")),
            (Value::Int(-7), Some("-7")),
            (Value::Double(0.25), Some("0.25")),
            (Value::Bytes(b"\x00\xff"), Some("AP8=")),
            (Value::Base64(b"AP8="), Some("AP8=")),
            (
                Value::JsonArray(r#"[{"stringValue":"a\"b"},{},{"intValue":"3"}]"#),
                Some(r#"["a\"b",null,3]"#),
            ),
            (
                Value::JsonMap(r#"[{"key":"k","value":{"bytesValue":"AP8="}}]"#),
                Some(r#"{"k":"AP8="}"#),
            ),
            (
                Value::ProtobufArray(&[0x0a, 2, 0x10, 1, 0x0a, 0]),
                Some("[true,null]"),
            ),
        ];
        for (value, expected) in cases {
            let mut scratch = String::from("left over");
            let text = value.text(&mut scratch);
            assert_eq!(text, expected.map(str::as_bytes), "{value:?}");
        }
    }

    #[test]
    fn a_deep_nest_ends() {
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..10_000 {
            // AnyValue { array_value: { values: <the last> } }
            let mut array = Vec::new();
            prost::encoding::bytes::encode(1, &bytes, &mut array);
            bytes.clear();
            prost::encoding::bytes::encode(5, &array, &mut bytes);
        }
        let mut outer = Vec::new();
        prost::encoding::bytes::encode(1, &bytes, &mut outer);
        let mut scratch = String::new();
        let text = Value::ProtobufArray(&outer)
            .text(&mut scratch)
            .expect("text");
        assert!(text.len() < 100, "{}", text.len());
    }

    #[test]
    fn numbers_are_read_from_numbers_and_text() {
        for (value, expected) in [
            (Value::Int(503), Some(503)),
            (Value::Text(b"503"), Some(503)),
            (Value::Double(503.0), Some(503)),
            (Value::Double(0.5), None),
            (Value::Bool(true), None),
            (Value::Text(b"five"), None),
        ] {
            assert_eq!(value.integer(), expected, "{value:?}");
        }
    }
}
