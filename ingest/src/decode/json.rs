//! What does an export request in OTLP/JSON say?
//!
//! Protobuf's JSON with OpenTelemetry's exceptions: ids are hexadecimal, enums are integers. A
//! 64-bit number is a number or a text of digits, `null` is the default, unknown fields are ignored.
//!
//! No list is collected: two bytes of JSON would become hundreds of bytes of structure, and a body
//! within its limit could fill the memory. A list stays raw text until its elements are taken one
//! by one. Raw text is scanned once per level, which costs less than the structure would.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::builder::RawSpan;
use super::resource::{Origin, ResourceBuilder};
use super::sampling::is_tail_sampler;
use super::shapes::Scope;
use super::value::Value;
use super::{ContentType, DecodeContext, Decoded};

type Raw<'a> = Option<&'a RawValue>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_spans: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow, default)]
    resource: Raw<'a>,
    #[serde(borrow, default)]
    scope_spans: Raw<'a>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Raw<'a>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    scope: Option<Object<JsonScope<'a>>>,
    #[serde(borrow, default)]
    spans: Raw<'a>,
}

#[derive(Deserialize, Default)]
struct JsonScope<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    attributes: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(borrow, default)]
    trace_id: Text<'a>,
    #[serde(borrow, default)]
    span_id: Text<'a>,
    #[serde(borrow, default)]
    parent_span_id: Text<'a>,
    #[serde(borrow, default)]
    trace_state: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(default)]
    kind: Number<false>,
    #[serde(default)]
    start_time_unix_nano: Number<true>,
    #[serde(default)]
    end_time_unix_nano: Number<true>,
    #[serde(default)]
    flags: Number<true>,
    #[serde(borrow, default)]
    attributes: Raw<'a>,
    #[serde(borrow, default)]
    events: Raw<'a>,
    #[serde(borrow, default)]
    links: Raw<'a>,
    #[serde(borrow, default)]
    status: Option<Object<JsonStatus<'a>>>,
}

#[derive(Deserialize, Default)]
struct JsonStatus<'a> {
    #[serde(borrow, default)]
    message: Text<'a>,
    #[serde(default)]
    code: Number<false>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    attributes: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLink<'a> {
    #[serde(borrow, default)]
    trace_id: Text<'a>,
    #[serde(borrow, default)]
    span_id: Text<'a>,
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Text<'a>,
    #[serde(borrow, default)]
    value: Option<Object<AnyValue<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue<'a> {
    #[serde(borrow, default)]
    string_value: Option<Text<'a>>,
    #[serde(default)]
    bool_value: Option<bool>,
    #[serde(default)]
    int_value: Option<Number<true>>,
    #[serde(default)]
    double_value: Option<Double>,
    #[serde(borrow, default)]
    array_value: Option<Object<List<'a>>>,
    #[serde(borrow, default)]
    kvlist_value: Option<Object<List<'a>>>,
    #[serde(borrow, default)]
    bytes_value: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    values: Raw<'a>,
}

/// Reads the body.
pub(super) fn request(
    body: &str,
    context: &mut DecodeContext,
    decoded: &mut Decoded,
) -> Result<(), serde_json::Error> {
    let Object(request): Object<Request<'_>> = serde_json::from_str(body)?;
    each(request.resource_spans, |spans: ResourceSpans<'_>| {
        resource_spans(&spans, context, decoded)
    })
}

fn resource_spans(
    spans: &ResourceSpans<'_>,
    context: &mut DecodeContext,
    decoded: &mut Decoded,
) -> Result<(), serde_json::Error> {
    let text = spans.resource.map_or("{}", RawValue::get);
    let origin = match context.resources.find(ContentType::Json, text.as_bytes()) {
        Some(known) => known,
        None => {
            let Object(resource): Object<Resource<'_>> = serde_json::from_str(text)?;
            let mut builder = ResourceBuilder::default();
            each(resource.attributes, |pair: KeyValue<'_>| {
                builder.attribute(&mut context.names, pair.key.bytes(), pair.value());
                Ok(())
            })?;
            decoded.counts.dropped_attributes += builder.dropped;
            let origin = builder.finish(&mut context.names, &mut context.resources);
            context
                .resources
                .remember(ContentType::Json, text.as_bytes(), &origin);
            origin
        }
    };
    each(spans.scope_spans, |spans: ScopeSpans<'_>| {
        let Object(json) = spans.scope.unwrap_or_default();
        let names = &mut context.names;
        let mut scope = context.scopes.scope(names, json.name.bytes());
        each(json.attributes, |pair: KeyValue<'_>| {
            scope.is_sampled |= is_tail_sampler(pair.key.bytes());
            Ok(())
        })?;
        each(spans.spans, |json: JsonSpan<'_>| {
            span(&json, &origin, &scope, context, decoded)
        })
    })
}

fn span(
    json: &JsonSpan<'_>,
    origin: &Origin,
    scope: &Scope,
    context: &mut DecodeContext,
    decoded: &mut Decoded,
) -> Result<(), serde_json::Error> {
    context.span.kind(json.kind.unsigned());
    each(json.attributes, |pair: KeyValue<'_>| {
        let value = || Ok::<_, serde_json::Error>(pair.value());
        context.span.attribute(pair.key.bytes(), value)
    })?;
    each(json.events, |event: Event<'_>| {
        if event.name.bytes() != b"exception" {
            return Ok(());
        }
        each(event.attributes, |pair: KeyValue<'_>| {
            context.span.exception(pair.key.bytes(), pair.value());
            Ok(())
        })
    })?;
    each(json.links, |link: JsonLink<'_>| {
        let (trace_id, span_id) = (Id::of(&link.trace_id), Id::of(&link.span_id));
        context
            .span
            .link(trace_id.bytes(), span_id.bytes(), decoded);
        Ok(())
    })?;
    let trace_id = Id::of(&json.trace_id);
    let span_id = Id::of(&json.span_id);
    let parent_id = Id::of(&json.parent_span_id);
    let status = json.status.as_ref().map(|Object(status)| status);
    let raw = RawSpan {
        trace_id: trace_id.bytes(),
        span_id: span_id.bytes(),
        parent_id: parent_id.bytes(),
        trace_state: json.trace_state.bytes(),
        name: json.name.bytes(),
        kind: json.kind.unsigned(),
        start: json.start_time_unix_nano.unsigned(),
        end: json.end_time_unix_nano.unsigned(),
        status: status.map_or(0, |status| status.code.unsigned()),
        message: status.map_or(&[], |status| status.message.bytes()),
        flags: json.flags.unsigned() as u32,
    };
    let DecodeContext {
        names,
        shapes,
        span,
        ..
    } = context;
    span.finish(names, shapes, &raw, origin, scope, decoded);
    Ok(())
}

/// Calls `take` with each element of the list, one at a time; no list and `null` have none.
fn each<'a, T: Deserialize<'a>>(
    list: Raw<'a>,
    take: impl FnMut(T) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    struct Each<T, F>(F, PhantomData<T>);

    impl<'a, T: Deserialize<'a>, F: FnMut(T) -> Result<(), serde_json::Error>> Visitor<'a>
        for Each<T, F>
    {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(Object(element)) = list.next_element()? {
                (self.0)(element).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }

    match list {
        None => Ok(()),
        Some(list) => {
            let mut deserializer = serde_json::Deserializer::from_str(list.get());
            deserializer.deserialize_seq(Each(take, PhantomData))
        }
    }
}

/// What is written as an object. Serde alone would take a list for one, its elements for the fields
/// in order, and so read sense into what has none.
#[derive(Default)]
struct Object<T>(T);

impl<'a, T: Deserialize<'a>> Deserialize<'a> for Object<T> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'a, T: Deserialize<'a>> Visitor<'a> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer
            .deserialize_map(Fields(PhantomData))
            .map(Object)
    }
}

/// The elements of an `arrayValue`.
pub(super) fn each_value(
    list: &str,
    take: &mut dyn FnMut(Value<'_>),
) -> Result<(), serde_json::Error> {
    each(serde_json::from_str(list)?, |value: AnyValue<'_>| {
        take(value.view());
        Ok(())
    })
}

/// The pairs of a `kvlistValue`.
pub(super) fn each_pair(
    list: &str,
    take: &mut dyn FnMut(&[u8], Value<'_>),
) -> Result<(), serde_json::Error> {
    each(serde_json::from_str(list)?, |pair: KeyValue<'_>| {
        take(pair.key.bytes(), pair.value());
        Ok(())
    })
}

impl KeyValue<'_> {
    fn value(&self) -> Value<'_> {
        match &self.value {
            Some(Object(value)) => value.view(),
            None => Value::Empty,
        }
    }
}

impl AnyValue<'_> {
    fn view(&self) -> Value<'_> {
        if let Some(text) = &self.string_value {
            Value::Text(text.bytes())
        } else if let Some(value) = self.bool_value {
            Value::Bool(value)
        } else if let Some(number) = &self.int_value {
            Value::Int(number.0 as i64)
        } else if let Some(number) = &self.double_value {
            Value::Double(number.0)
        } else if let Some(Object(array)) = &self.array_value {
            Value::JsonArray(array.text())
        } else if let Some(Object(map)) = &self.kvlist_value {
            Value::JsonMap(map.text())
        } else if let Some(bytes) = &self.bytes_value {
            Value::Base64(bytes.bytes())
        } else {
            Value::Empty
        }
    }
}

impl<'a> List<'a> {
    fn text(&self) -> &'a str {
        self.values.map_or("[]", RawValue::get)
    }
}

/// An id of up to 16 bytes in hexadecimal, either case. What is no id has a length that none has.
struct Id {
    bytes: [u8; 17],
    length: usize,
}

impl Id {
    fn of(text: &Text<'_>) -> Self {
        let mut bytes = [0; 17];
        let digits = text.bytes();
        let even = digits.len().is_multiple_of(2) && digits.len() <= 32;
        let all_hex = digits.iter().all(u8::is_ascii_hexdigit);
        if !even || !all_hex {
            return Self { bytes, length: 17 };
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0]) << 4 | digit(pair[1]);
        }
        Self {
            bytes,
            length: digits.len() / 2,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Text, borrowed from the body when it has no escapes; `null` is empty.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }

        deserializer.deserialize_any(Borrow)
    }
}

/// A whole number of any signed or unsigned type; `TEXT` says whether digits in a string do, which
/// they do for numbers but not for enums. `null` is zero.
#[derive(Clone, Copy, Default)]
struct Number<const TEXT: bool>(i128);

impl<const TEXT: bool> Number<TEXT> {
    /// As an unsigned field; below zero and above the range is nothing.
    fn unsigned(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }
}

impl<'de, const TEXT: bool> Deserialize<'de> for Number<TEXT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole<const TEXT: bool>;

        impl<const TEXT: bool> Visitor<'_> for Whole<TEXT> {
            type Value = Number<TEXT>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(if TEXT {
                    "a 64-bit number, or a string of its digits"
                } else {
                    "an integer (enums are sent as numbers)"
                })
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number<TEXT>, E> {
                Ok(Number(number.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number<TEXT>, E> {
                Ok(Number(number.into()))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Number<TEXT>, E> {
                let in_range = number.abs() <= u64::MAX as f64;
                if number.fract() != 0.0 || !in_range {
                    return Err(E::invalid_value(
                        serde::de::Unexpected::Float(number),
                        &self,
                    ));
                }
                Ok(Number(number as i128))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number<TEXT>, E> {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let all_digits = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
                let number = if TEXT && all_digits {
                    text.parse().ok()
                } else {
                    None
                };
                number
                    .filter(|it| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(it))
                    .map(Number)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_unit<E>(self) -> Result<Number<TEXT>, E> {
                Ok(Number(0))
            }
        }

        deserializer.deserialize_any(Whole)
    }
}

/// A floating-point number: protobuf's JSON writes those that JSON hasn't as strings.
struct Double(f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Float;

        impl Visitor<'_> for Float {
            type Value = Double;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Double, E> {
                Ok(Double(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Double, E> {
                Ok(Double(number as f64))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Double, E> {
                Ok(Double(number as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Double, E> {
                // Rust's own parser knows "NaN" and "Infinity" too.
                text.parse()
                    .map(Double)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Float)
    }
}
