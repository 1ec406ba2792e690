//! Trace and span ids, valid by type: OpenTelemetry calls an id of all zeroes invalid, and here it
//! can't be written down.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The id of a trace: 16 bytes, not all zero. Shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZeroU128);

/// The id of a span within its trace: 8 bytes, not all zero. Shown as 16 lower-case hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZeroU64);

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind} id: expected {digits} hexadecimal digits, not all zero")]
pub struct ParseIdError {
    text: String,
    kind: &'static str,
    digits: usize,
}

impl TraceId {
    /// The id that is written as these 32 hexadecimal digits; `None` where it is none.
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        parse_hex(digits, 32).and_then(NonZeroU128::new).map(Self)
    }

    /// The id of these bytes (big-endian, as on the wire), or `None` when all are zero.
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        match NonZeroU128::new(u128::from_be_bytes(bytes)) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The id as a number; its bits are random by specification, so it serves as a hash.
    pub const fn get(self) -> u128 {
        self.0.get()
    }

    /// The bytes as on the wire.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl SpanId {
    /// The id that is written as these 16 hexadecimal digits; `None` where it is none.
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        let id = parse_hex(digits, 16)?;
        NonZeroU64::new(id as u64).map(Self)
    }

    /// The id of these bytes (big-endian, as on the wire), or `None` when all are zero.
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        match NonZeroU64::new(u64::from_be_bytes(bytes)) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The id as a number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The bytes as on the wire.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

/// What is no hexadecimal digit.
const NO_DIGIT: u8 = 0x80;

/// The value of each byte as a digit: recordings bring ids as text by the ten million.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Exactly `digits` hexadecimal digits as a number.
fn parse_hex(text: &[u8], digits: usize) -> Option<u128> {
    if text.len() != digits {
        return None;
    }
    let mut all = 0;
    let mut number = 0;
    // Numbers of 64 bits are added to in a fraction of the time.
    for half in text.chunks(16) {
        let mut part = 0u64;
        for byte in half {
            let digit = DIGITS[usize::from(*byte)];
            all |= digit;
            part = part << 4 | u64::from(digit);
        }
        number = number << 64 | u128::from(part);
    }
    (all & NO_DIGIT == 0).then_some(number)
}

impl FromStr for TraceId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::from_hex(text.as_bytes()).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            kind: "trace",
            digits: 32,
        })
    }
}

impl FromStr for SpanId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::from_hex(text.as_bytes()).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            kind: "span",
            digits: 16,
        })
    }
}

macro_rules! hex_text {
    ($id:ident, $digits:literal) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0.get())
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_text!(TraceId, 32);
hex_text!(SpanId, 16);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "0",
            "00000000000000000000000000000000",
            "+0000000000000000000000000000001",
        ] {
            let error = text.parse::<TraceId>().expect_err(text);
            assert!(
                error.to_string().contains("32 hexadecimal digits"),
                "{error}"
            );
        }
        assert!("0000000000000000".parse::<SpanId>().is_err());
        assert!("g000000000000001".parse::<SpanId>().is_err());
        assert_eq!(TraceId::from_bytes([0; 16]), None);
        assert_eq!(SpanId::from_bytes([0; 8]), None);
    }

    #[test]
    fn upper_case_is_read_and_lower_case_is_written() {
        let id: SpanId = "00F067AA0BA902B7".parse().expect("a span id");
        assert_eq!(id.to_string(), "00f067aa0ba902b7");
    }

    proptest! {
        #[test]
        fn text_and_bytes_round_trip(bytes: [u8; 16]) {
            if let Some(id) = TraceId::from_bytes(bytes) {
                prop_assert_eq!(id.to_bytes(), bytes);
                prop_assert_eq!(id.to_string().parse::<TraceId>(), Ok(id));
                let json = serde_json::to_string(&id).expect("ids serialize");
                prop_assert_eq!(serde_json::from_str::<TraceId>(&json).expect("and back"), id);
            }
        }
    }
}
