//! How are protobuf bytes walked without building anything?
//!
//! The generated types cost ten times the walk (an allocation per string and per attribute), and
//! most of what they hold is never read. So a message is a slice, a [`Reader`] steps through its
//! fields, and whoever knows the message takes what it needs and skips the rest.

/// What protobuf bytes may be wrong in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end in the middle of a field.
    #[error("a field runs past the end of its message")]
    CutOff,
    /// A varint has more than ten bytes, or more than 64 bits.
    #[error("a varint is longer than 64 bits")]
    LongVarint,
    /// A wire type that protobuf doesn't have, a field numbered zero, or an unpaired group.
    #[error("a field's tag is none that protobuf has")]
    BadTag,
}

/// A varint.
const VARINT: u64 = 0;
/// Eight bytes, little-endian.
const FIXED64: u64 = 1;
/// A length, then as many bytes.
const LENGTH: u64 = 2;
/// The start of a group: retired long ago, but a valid unknown field all the same.
const GROUP: u64 = 3;
/// The end of a group.
const END_GROUP: u64 = 4;
/// Four bytes, little-endian.
const FIXED32: u64 = 5;

/// The tag of a varint field.
pub(crate) const fn varint(field: u64) -> u64 {
    field << 3 | VARINT
}

/// The tag of a field of eight bytes.
pub(crate) const fn fixed64(field: u64) -> u64 {
    field << 3 | FIXED64
}

/// The tag of a field of text, bytes or a message.
pub(crate) const fn length(field: u64) -> u64 {
    field << 3 | LENGTH
}

/// The tag of a field of four bytes.
pub(crate) const fn fixed32(field: u64) -> u64 {
    field << 3 | FIXED32
}

/// Steps through the fields of one message.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What wasn't read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field's tag, or `None` at the end of the message.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<u64>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.varint().map(Some)
    }

    /// The value of a varint field.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().enumerate() {
            // The tenth byte holds the 64th bit and nothing else.
            if index == 9 && *byte > 1 {
                return Err(Malformed::LongVarint);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Malformed::CutOff)
    }

    /// The bytes of a text, bytes or message field.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed::CutOff)?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed::CutOff)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The bytes of the next field, if it has this tag of one byte and fewer than 128 bytes.
    #[inline(always)]
    pub(crate) fn short(&mut self, tag: u64) -> Option<&'a [u8]> {
        let [found, length, rest @ ..] = self.rest else {
            return None;
        };
        if u64::from(*found) != tag || *length >= 0x80 {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
        self.rest = rest;
        Some(bytes)
    }

    /// The value of a field of eight bytes.
    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed::CutOff)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// The value of a field of four bytes.
    #[inline]
    pub(crate) fn fixed32(&mut self) -> Result<u32, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed::CutOff)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// Steps over the field of this tag. A known field in an unexpected wire type is an unknown
    /// field, as protobuf has it.
    #[inline]
    pub(crate) fn skip(&mut self, tag: u64) -> Result<(), Malformed> {
        if tag >> 3 == 0 {
            return Err(Malformed::BadTag);
        }
        match tag & 7 {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            LENGTH => self.bytes().map(drop),
            FIXED32 => self.fixed32().map(drop),
            GROUP => self.skip_group(tag >> 3),
            _ => Err(Malformed::BadTag),
        }
    }

    /// Steps over the rest of a group. Groups nest, and their depth comes from outside, so they
    /// are kept on a list, not on the stack.
    fn skip_group(&mut self, field: u64) -> Result<(), Malformed> {
        let mut open = vec![field];
        while let Some(innermost) = open.last() {
            let tag = self.tag()?.ok_or(Malformed::CutOff)?;
            match tag & 7 {
                GROUP if tag >> 3 != 0 => open.push(tag >> 3),
                END_GROUP if tag >> 3 == *innermost => drop(open.pop()),
                GROUP | END_GROUP => return Err(Malformed::BadTag),
                _ => self.skip(tag)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_read_says_why() {
        let cases: [(&[u8], Malformed); 8] = [
            (&[0x80], Malformed::CutOff),
            (&[0x0a, 5, 1], Malformed::CutOff),
            (&[0x39, 1, 2, 3], Malformed::CutOff),
            (&[0xff; 11], Malformed::LongVarint),
            (&[0x07], Malformed::BadTag),
            (&[0x02, 0], Malformed::BadTag),
            (&[0x0b, 0x14], Malformed::BadTag),
            (&[0x0b, 0x13, 0x14], Malformed::CutOff),
        ];
        for (bytes, expected) in cases {
            assert_eq!(skip_all(bytes), Err(expected), "{bytes:x?}");
        }
    }

    #[test]
    fn groups_are_stepped_over() {
        // Group 1 { group 2 { varint 3 } , bytes 4 }, then varint 5.
        let bytes = [0x0b, 0x13, 0x18, 7, 0x14, 0x22, 1, 9, 0x0c, 0x28, 1];
        assert_eq!(skip_all(&bytes), Ok(4 - 2));
    }

    fn skip_all(bytes: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut fields = 0;
        while let Some(tag) = reader.tag()? {
            reader.skip(tag)?;
            fields += 1;
        }
        Ok(fields)
    }

    proptest! {
        #[test]
        fn varints_round_trip(value: u64) {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.rest.is_empty());
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = skip_all(&bytes);
        }
    }
}
