//! How is text kept that came in a request of megabytes, without copying it?
//!
//! As a slice of the request. A span has a dozen texts; copying each costs more than all else that is done to it here.

use std::fmt;

use bytes::Bytes;

/// UTF-8 that shares the bytes it came in.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// The text, and whether it had to be mended because it wasn't UTF-8.
    pub fn mended(bytes: Bytes) -> (Self, bool) {
        match std::str::from_utf8(&bytes) {
            Ok(_) => (Self(bytes), false),
            Err(_) => (
                Self::from(String::from_utf8_lossy(&bytes).into_owned()),
                true,
            ),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // It was looked at when it was made.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes, shared.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf8_is_mended() {
        for (bytes, text, mended) in [
            (&b"plain"[..], "plain", false),
            (b"", "", false),
            (b"a\xffb", "a\u{fffd}b", true),
        ] {
            let (read, was) = Text::mended(Bytes::copy_from_slice(bytes));
            assert_eq!((read.as_str(), was), (text, mended));
        }
    }
}
