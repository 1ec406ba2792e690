//! What does an export request in protobuf say?
//!
//! One walk over `ExportTraceServiceRequest`, field by field, without the generated types. The
//! numbers are those of `opentelemetry/proto/trace/v1/trace.proto` and its siblings; a test holds
//! the walk against the generated types on arbitrary requests.

use std::borrow::Cow;

use super::builder::RawSpan;
use super::resource::{Origin, ResourceBuilder};
use super::sampling::is_tail_sampler;
use super::seen::Root;
use super::shapes::{Placed, Scope};
use super::value::Value;
use super::wire::{Malformed, Reader, fixed64, length, varint};
use super::{ContentType, DecodeContext, Decoded};

/// A valid span can't be shorter: two tags, two lengths, 24 bytes of ids.
const MIN_SPAN_BYTES: usize = 28;

pub(super) fn request(
    bytes: &[u8],
    context: &mut DecodeContext,
    decoded: &mut Decoded,
) -> Result<(), Malformed> {
    const RESOURCE_SPANS: u64 = length(1);
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            RESOURCE_SPANS => resource_spans(reader.bytes()?, context, decoded)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(())
}

fn resource_spans(
    bytes: &[u8],
    context: &mut DecodeContext,
    decoded: &mut Decoded,
) -> Result<(), Malformed> {
    const RESOURCE: u64 = length(1);
    const SCOPE_SPANS: u64 = length(2);
    // Fields may come in any order, and every span needs the resource: look for it first.
    let mut reader = Reader::new(bytes);
    let mut resource: Cow<'_, [u8]> = Cow::default();
    while let Some(tag) = reader.tag()? {
        match tag {
            RESOURCE => add_part(&mut resource, reader.bytes()?),
            _ => reader.skip(tag)?,
        }
    }
    let origin = origin(&resource, context, decoded)?;
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            SCOPE_SPANS => scope_spans(reader.bytes()?, &origin, context, decoded)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(())
}

fn origin(
    bytes: &[u8],
    context: &mut DecodeContext,
    decoded: &mut Decoded,
) -> Result<Origin, Malformed> {
    const ATTRIBUTES: u64 = length(1);
    if let Some(known) = context.resources.find(ContentType::Protobuf, bytes) {
        return Ok(known);
    }
    let mut builder = ResourceBuilder::default();
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            ATTRIBUTES => {
                let (key, value) = key_value(reader.bytes()?)?;
                builder.attribute(&mut context.names, key, any_value(value)?);
            }
            _ => reader.skip(tag)?,
        }
    }
    decoded.counts.dropped_attributes += builder.dropped;
    let origin = builder.finish(&mut context.names, &mut context.resources);
    context
        .resources
        .remember(ContentType::Protobuf, bytes, &origin);
    Ok(origin)
}

fn scope_spans(
    bytes: &[u8],
    origin: &Origin,
    context: &mut DecodeContext,
    decoded: &mut Decoded,
) -> Result<(), Malformed> {
    const SCOPE: u64 = length(1);
    const SPANS: u64 = length(2);
    let mut scope: Cow<'_, [u8]> = Cow::default();
    let mut count = 0;
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            SCOPE => add_part(&mut scope, reader.bytes()?),
            SPANS => {
                reader.bytes()?;
                count += 1;
            }
            _ => reader.skip(tag)?,
        }
    }
    let scope = scope_of(&scope, context)?;
    // The count is the sender's word; the length of the bytes isn't.
    decoded
        .spans
        .reserve(count.min(bytes.len() / MIN_SPAN_BYTES));
    let numbers = (origin.number, scope.number);
    // What a sampler left its marks on is told apart by more than its bytes.
    let mut root = match scope.is_sampled {
        true => Root::NOTHING,
        false => context.seen.root(numbers),
    };
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            SPANS => {
                let bytes = reader.bytes()?;
                let (mut raw, keys) = (RawSpan::default(), context.span.keys());
                if let Some(known) = context.seen.find(root, bytes, keys, &mut raw) {
                    context.known(&raw, known, decoded);
                    continue;
                }
                let placed = span(bytes, origin, &scope, context, decoded)?;
                if let Some(placed) = placed.filter(|_| !scope.is_sampled) {
                    context.remember(numbers, bytes, &placed);
                    root = context.seen.root(numbers);
                }
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(())
}

/// Protobuf lets one message come in several parts, which are read as if they were one.
fn add_part<'a>(whole: &mut Cow<'a, [u8]>, part: &'a [u8]) {
    match whole.is_empty() {
        true => *whole = Cow::Borrowed(part),
        false => whole.to_mut().extend_from_slice(part),
    }
}

fn scope_of(bytes: &[u8], context: &mut DecodeContext) -> Result<Scope, Malformed> {
    const NAME: u64 = length(1);
    const ATTRIBUTES: u64 = length(3);
    let mut name: &[u8] = &[];
    let mut is_sampled = false;
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            NAME => name = reader.bytes()?,
            ATTRIBUTES => is_sampled |= is_tail_sampler(key_value(reader.bytes()?)?.0),
            _ => reader.skip(tag)?,
        }
    }
    let mut scope = context.scopes.scope(&mut context.names, name);
    scope.is_sampled = is_sampled;
    Ok(scope)
}

/// The fields of a span.
pub(super) mod field {
    use super::super::wire::{fixed32, fixed64, length, varint};

    pub(in super::super) const TRACE_ID: u64 = length(1);
    pub(in super::super) const SPAN_ID: u64 = length(2);
    pub(in super::super) const TRACE_STATE: u64 = length(3);
    pub(in super::super) const PARENT_SPAN_ID: u64 = length(4);
    pub(in super::super) const NAME: u64 = length(5);
    pub(in super::super) const KIND: u64 = varint(6);
    pub(in super::super) const START: u64 = fixed64(7);
    pub(in super::super) const END: u64 = fixed64(8);
    pub(in super::super) const ATTRIBUTES: u64 = length(9);
    pub(in super::super) const DROPPED_ATTRIBUTES: u64 = varint(10);
    pub(in super::super) const EVENTS: u64 = length(11);
    pub(in super::super) const DROPPED_EVENTS: u64 = varint(12);
    pub(in super::super) const LINKS: u64 = length(13);
    pub(in super::super) const DROPPED_LINKS: u64 = varint(14);
    pub(in super::super) const STATUS: u64 = length(15);
    pub(in super::super) const FLAGS: u64 = fixed32(16);
}

/// Adds a span, and says where its shape is: if it is one, and has nothing that is told apart by more than its bytes.
fn span(
    bytes: &[u8],
    origin: &Origin,
    scope: &Scope,
    context: &mut DecodeContext,
    decoded: &mut Decoded,
) -> Result<Option<Placed>, Malformed> {
    use field::*;
    const STATUS_MESSAGE: u64 = length(2);
    const STATUS_CODE: u64 = varint(3);

    let mut raw = RawSpan::default();
    let mut has_own = false;
    let mut reader = Reader::new(bytes);
    // First as nearly all are written, in the order of the fields' numbers: asking for the next one is
    // cheaper than asking which one it is. What is written otherwise is left to the loop.
    if let Some(id) = reader.short(TRACE_ID) {
        raw.trace_id = id;
    }
    if let Some(id) = reader.short(SPAN_ID) {
        raw.span_id = id;
    }
    if let Some(id) = reader.short(PARENT_SPAN_ID) {
        raw.parent_id = id;
    }
    if let Some(name) = reader.short(NAME) {
        raw.name = name;
    }
    while let Some(tag) = reader.tag()? {
        match tag {
            TRACE_ID => raw.trace_id = reader.bytes()?,
            SPAN_ID => raw.span_id = reader.bytes()?,
            TRACE_STATE => raw.trace_state = reader.bytes()?,
            PARENT_SPAN_ID => raw.parent_id = reader.bytes()?,
            NAME => raw.name = reader.bytes()?,
            KIND => {
                raw.kind = enumeration(reader.varint()?);
                context.span.kind(raw.kind);
            }
            START => raw.start = reader.fixed64()?,
            END => raw.end = reader.fixed64()?,
            FLAGS => raw.flags = reader.fixed32()?,
            ATTRIBUTES => {
                attribute(reader.bytes()?, context)?;
                while let Some(bytes) = reader.short(ATTRIBUTES) {
                    attribute(bytes, context)?;
                }
            }
            EVENTS => has_own |= event(reader.bytes()?, context)?,
            LINKS => {
                has_own = true;
                link(reader.bytes()?, context, decoded)?;
            }
            STATUS => {
                let mut status = Reader::new(reader.bytes()?);
                while let Some(tag) = status.tag()? {
                    match tag {
                        STATUS_MESSAGE => raw.message = status.bytes()?,
                        STATUS_CODE => raw.status = enumeration(status.varint()?),
                        _ => status.skip(tag)?,
                    }
                }
            }
            _ => reader.skip(tag)?,
        }
    }
    let DecodeContext {
        names,
        shapes,
        span,
        ..
    } = context;
    has_own |= !raw.trace_state.is_empty();
    let placed = span.finish(names, shapes, &raw, origin, scope, decoded);
    Ok(placed.filter(|_| !has_own))
}

#[inline(always)]
fn attribute(bytes: &[u8], context: &mut DecodeContext) -> Result<(), Malformed> {
    let (key, value) = key_value(bytes)?;
    if let Some(text) = only_text(value) {
        context.span.text(key, text);
    } else if let Some(number) = only_number(value) {
        context.span.number(key, number);
    } else {
        context.span.attribute(key, || any_value(value))?;
    }
    Ok(())
}

/// An enum has 32 bits, and protobuf takes the lower ones of whatever number comes.
pub(super) fn enumeration(number: u64) -> u64 {
    number & u64::from(u32::MAX)
}

/// The name of the events that say something.
pub(super) const EXCEPTION: &[u8] = b"exception";

pub(super) fn event_name(event: &[u8]) -> Result<&[u8], Malformed> {
    const NAME: u64 = length(2);
    let mut name: &[u8] = &[];
    let mut reader = Reader::new(event);
    while let Some(tag) = reader.tag()? {
        match tag {
            NAME => name = reader.bytes()?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(name)
}

/// Takes an event; whether it says something.
fn event(bytes: &[u8], context: &mut DecodeContext) -> Result<bool, Malformed> {
    const ATTRIBUTES: u64 = length(3);
    if event_name(bytes)? != EXCEPTION {
        return Ok(false);
    }
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            ATTRIBUTES => {
                let (key, value) = key_value(reader.bytes()?)?;
                context.span.exception(key, any_value(value)?);
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(true)
}

fn link(bytes: &[u8], context: &mut DecodeContext, decoded: &mut Decoded) -> Result<(), Malformed> {
    const TRACE_ID: u64 = length(1);
    const SPAN_ID: u64 = length(2);
    let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            TRACE_ID => trace_id = reader.bytes()?,
            SPAN_ID => span_id = reader.bytes()?,
            _ => reader.skip(tag)?,
        }
    }
    context.span.link(trace_id, span_id, decoded);
    Ok(())
}

/// The key and the bytes of the value. `key_strindex` belongs to profiles; here it counts as absent.
#[inline(always)]
fn key_value(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    // As nearly all are written: a short key, then a short value, and nothing else.
    if let [0x0a, key_bytes, rest @ ..] = bytes
        && *key_bytes < 0x80
        && let Some((key, rest)) = rest.split_at_checked(usize::from(*key_bytes))
        && let [0x12, value_bytes, value @ ..] = rest
        && *value_bytes < 0x80
        && usize::from(*value_bytes) == value.len()
    {
        return Ok((key, value));
    }
    any_key_value(bytes)
}

#[inline(never)]
fn any_key_value(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    const KEY: u64 = length(1);
    const VALUE: u64 = length(2);
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            KEY => key = reader.bytes()?,
            VALUE => value = reader.bytes()?,
            _ => reader.skip(tag)?,
        }
    }
    Ok((key, value))
}

/// The text of a value that is a short text and nothing else, as most are: without a [`Value`], which
/// is written to memory in parts and read again as a whole, and that costs more than reading it here.
#[inline(always)]
fn only_text(value: &[u8]) -> Option<&[u8]> {
    match value {
        [0x0a, bytes, text @ ..] if *bytes < 0x80 && usize::from(*bytes) == text.len() => {
            Some(text)
        }
        _ => None,
    }
}

/// The number of a value that is a number of up to two bytes and nothing else.
#[inline(always)]
fn only_number(value: &[u8]) -> Option<i64> {
    match value {
        [0x18, number] if *number < 0x80 => Some(i64::from(*number)),
        [0x18, low, high] if *low >= 0x80 && *high < 0x80 => {
            Some(i64::from(*low & 0x7f) | i64::from(*high) << 7)
        }
        _ => None,
    }
}

/// `string_value_strindex` belongs to profiles; here it counts as absent.
#[inline]
fn any_value(bytes: &[u8]) -> Result<Value<'_>, Malformed> {
    const STRING: u64 = length(1);
    const BOOL: u64 = varint(2);
    const INT: u64 = varint(3);
    const DOUBLE: u64 = fixed64(4);
    const ARRAY: u64 = length(5);
    const MAP: u64 = length(6);
    const BYTES: u64 = length(7);
    let mut value = Value::Empty;
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            STRING => value = Value::Text(reader.bytes()?),
            BOOL => value = Value::Bool(reader.varint()? != 0),
            INT => value = Value::Int(reader.varint()?.cast_signed()),
            DOUBLE => value = Value::Double(f64::from_bits(reader.fixed64()?)),
            ARRAY => value = Value::ProtobufArray(reader.bytes()?),
            MAP => value = Value::ProtobufMap(reader.bytes()?),
            BYTES => value = Value::Bytes(reader.bytes()?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(value)
}

/// The elements of an `ArrayValue`.
pub(super) fn each_value(bytes: &[u8], each: &mut dyn FnMut(Value<'_>)) -> Result<(), Malformed> {
    const VALUES: u64 = length(1);
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            VALUES => each(any_value(reader.bytes()?)?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(())
}

/// The pairs of a `KeyValueList`.
pub(super) fn each_pair(
    bytes: &[u8],
    each: &mut dyn FnMut(&[u8], Value<'_>),
) -> Result<(), Malformed> {
    const VALUES: u64 = length(1);
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        match tag {
            VALUES => {
                let (key, value) = key_value(reader.bytes()?)?;
                each(key, any_value(value)?);
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(())
}
