//! Which bytes of a span decide what it says?
//!
//! Spans of one operation differ in ids and times and in attributes that nobody asks about. What is
//! left is gathered here, as it was sent: the attributes that mean something, name, status, and the
//! numbers of process and scope. Spans with equal signatures have equal [`Shape`]s, so the shape is
//! made of the first one's and found for all others, at the cost of comparing some two hundred bytes.
//!
//! [`Shape`]: rekindle_model::Shape

use super::intern::MAX_TEXT_BYTES;
use super::value::Value;

/// Bytes taken of one text: one more than is kept, so that it shows that there were more.
const TAKEN_OF_TEXT: usize = MAX_TEXT_BYTES + 1;

/// What the bytes after an attribute's head are.
mod kind {
    pub(super) const TEXT: u8 = 0;
    pub(super) const BOOL: u8 = 1;
    pub(super) const INT: u8 = 2;
    pub(super) const DOUBLE: u8 = 3;
    pub(super) const BYTES: u8 = 4;
    pub(super) const PROTOBUF_ARRAY: u8 = 5;
    pub(super) const PROTOBUF_MAP: u8 = 6;
    pub(super) const JSON_ARRAY: u8 = 7;
    pub(super) const JSON_MAP: u8 = 8;
}

/// What a span's signature says beside its attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) message: &'a [u8],
    pub(crate) kind: u64,
    pub(crate) status: u64,
    /// The number of its process, and of its scope.
    pub(crate) origin: u64,
    pub(crate) scope: u64,
}

/// The signature of one span, used for one after the other.
#[derive(Debug, Default)]
pub(crate) struct Signature {
    bytes: Vec<u8>,
}

impl Signature {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Adds an attribute, known by a number. One without a value says nothing.
    #[inline]
    pub(crate) fn attribute(&mut self, number: u16, value: Value<'_>) {
        match value {
            Value::Empty => {}
            // Base64 is text already: the text that its bytes are shown as.
            Value::Text(text) | Value::Base64(text) => self.text(number, text),
            Value::Bool(value) => self.add(number, kind::BOOL, &[u8::from(value)]),
            Value::Int(value) => self.int(number, value),
            Value::Double(value) => self.add(number, kind::DOUBLE, &value.to_le_bytes()),
            Value::Bytes(bytes) => self.add(number, kind::BYTES, brief(bytes)),
            Value::ProtobufArray(bytes) => self.add(number, kind::PROTOBUF_ARRAY, bytes),
            Value::ProtobufMap(bytes) => self.add(number, kind::PROTOBUF_MAP, bytes),
            Value::JsonArray(text) => self.add(number, kind::JSON_ARRAY, text.as_bytes()),
            Value::JsonMap(text) => self.add(number, kind::JSON_MAP, text.as_bytes()),
        }
    }

    /// Adds attributes of another signature.
    pub(crate) fn copy(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
    }

    /// Adds an attribute that is a text.
    #[inline]
    pub(crate) fn text(&mut self, number: u16, text: &[u8]) {
        self.add(number, kind::TEXT, brief(text));
    }

    /// Adds an attribute that is a whole number.
    #[inline]
    pub(crate) fn int(&mut self, number: u16, value: i64) {
        self.add(number, kind::INT, &value.to_le_bytes());
    }

    #[inline]
    fn add(&mut self, number: u16, kind: u8, bytes: &[u8]) {
        let [low, high] = number.to_le_bytes();
        // A request's length is bounded far below four billion.
        let [a, b, c, d] = (bytes.len() as u32).to_le_bytes();
        self.bytes.extend_from_slice(&[low, high, kind, a, b, c, d]);
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds the rest; where the attributes end.
    #[inline]
    pub(crate) fn finish(&mut self, head: &Head<'_>) -> usize {
        let attributes = self.bytes.len();
        let (name, message) = (brief(head.name), brief(head.message));
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(message);
        // All of fixed length, at the end: so equal bytes mean equal parts.
        let mut fixed = [0; 40];
        for (place, number) in fixed.chunks_exact_mut(8).zip([
            (attributes as u64) << 32 | (name.len() as u64) << 16 | message.len() as u64,
            head.kind,
            head.status,
            head.origin,
            head.scope,
        ]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        self.bytes.extend_from_slice(&fixed);
        attributes
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn brief(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TAKEN_OF_TEXT)]
}

/// The attributes of a signature, by number.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, Value<'_>)> {
    std::iter::from_fn(move || {
        let ([low, high, kind, length @ ..], rest) = bytes.split_first_chunk::<7>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (value, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some((u16::from_le_bytes([*low, *high]), read(*kind, value)))
    })
}

fn read(kind: u8, bytes: &[u8]) -> Value<'_> {
    let eight = || bytes.first_chunk().copied().unwrap_or_default();
    // They were text when they were added.
    let text = || std::str::from_utf8(bytes).unwrap_or_default();
    match kind {
        kind::TEXT => Value::Text(bytes),
        kind::BOOL => Value::Bool(bytes == [1]),
        kind::INT => Value::Int(i64::from_le_bytes(eight())),
        kind::DOUBLE => Value::Double(f64::from_le_bytes(eight())),
        kind::BYTES => Value::Bytes(bytes),
        kind::PROTOBUF_ARRAY => Value::ProtobufArray(bytes),
        kind::PROTOBUF_MAP => Value::ProtobufMap(bytes),
        kind::JSON_ARRAY => Value::JsonArray(text()),
        kind::JSON_MAP => Value::JsonMap(text()),
        _ => Value::Empty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values<'a>(text: &'a str, bytes: &'a [u8], number: i64) -> Vec<Value<'a>> {
        vec![
            Value::Text(text.as_bytes()),
            Value::Bool(number % 2 == 0),
            Value::Int(number),
            Value::Double(number as f64 / 3.0),
            Value::Bytes(bytes),
            Value::ProtobufArray(bytes),
            Value::ProtobufMap(bytes),
            Value::JsonArray(text),
            Value::JsonMap(text),
        ]
    }

    proptest! {
        #[test]
        fn attributes_come_out_as_they_went_in(text: String, bytes: Vec<u8>, number: i64) {
            let values = values(&text, &bytes, number);
            let mut signature = Signature::default();
            for (number, value) in (7..).zip(&values) {
                signature.attribute(number, *value);
            }
            signature.attribute(3, Value::Empty);
            let head = Head { name: &bytes, message: b"", kind: 1, status: 2, origin: 3, scope: 4 };
            let end = signature.finish(&head);
            let read: Vec<String> =
                attributes(&signature.as_bytes()[..end]).map(|it| format!("{it:?}")).collect();
            let written: Vec<String> = (7u16..).zip(values).map(|it| format!("{it:?}")).collect();
            prop_assert_eq!(read, written);
        }

        /// What is one span's name must not be taken for another's message.
        #[test]
        fn no_byte_may_move_from_one_part_to_the_next(
            name in prop::collection::vec(any::<u8>(), 1..20),
            message in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let of = |name: &[u8], message: &[u8], scope| {
                let mut signature = Signature::default();
                signature.finish(&Head { name, message, kind: 1, status: 2, origin: 3, scope });
                signature
            };
            let whole = [&name[..], &message].concat();
            let moved = of(&whole[..name.len() - 1], &whole[name.len() - 1..], 4);
            let signature = of(&name, &message, 4);
            prop_assert_ne!(moved.as_bytes(), signature.as_bytes());
            let of_another = of(&name, &message, 5);
            prop_assert_ne!(of_another.as_bytes(), signature.as_bytes());
        }
    }
}
