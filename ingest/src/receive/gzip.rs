//! How is a gzip body read without letting it fill the memory?
//!
//! Decompression costs more than all the rest of receiving, and libdeflate is twice as fast as
//! anything that streams, but it needs the whole output's room beforehand. A gzip body ends with its
//! length, and deflate can't do better than 1032 to 1; so the room is what the body says it needs, if
//! it could possibly need it, and never more than the limit. A body that lies about its length is
//! tried again with more room, up to the same limit.

use std::io::Read;

use libdeflater::{DecompressionError, Decompressor};
use memchr::memmem;

/// The most that a byte of deflate can become.
const MAX_RATIO: usize = 1032;

/// Bytes of the shortest member: header, one empty block, checksum and length.
const MIN_GZIP_BYTES: usize = 18;

/// What every member begins with: gzip's magic, and deflate.
const MEMBER_START: [u8; 3] = [0x1f, 0x8b, 8];

/// Why a body isn't decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GunzipError {
    /// It is, or claims to be, longer than allowed.
    TooLarge,
    /// It isn't gzip, or damaged.
    Corrupt,
}

/// The length that a gzip body says it has when decompressed, if its own length allows for that.
pub(super) fn claimed_bytes(body: &[u8]) -> Result<usize, GunzipError> {
    if body.len() < MIN_GZIP_BYTES || !body.starts_with(&MEMBER_START) {
        return Err(GunzipError::Corrupt);
    }
    let claimed = body.last_chunk().map_or(0, |it| u32::from_le_bytes(*it));
    Ok((claimed as usize).min(body.len().saturating_mul(MAX_RATIO)))
}

/// The decompressed body, of at most `limit` bytes.
pub(super) fn gunzip(
    decompressor: &mut Decompressor,
    body: &[u8],
    limit: usize,
) -> Result<Vec<u8>, GunzipError> {
    let claimed = claimed_bytes(body)?;
    if claimed > limit {
        return Err(GunzipError::TooLarge);
    }
    // Libdeflate reads one member and doesn't say where it ended. What looks like the beginning of
    // a second one is found by chance in one body of some hundred.
    if memmem::find(&body[MEMBER_START.len()..], &MEMBER_START).is_some() {
        return gunzip_members(body, limit);
    }
    let mut out = vec![0; claimed];
    match decompressor.gzip_decompress(body, &mut out) {
        Ok(length) if length == claimed => Ok(out),
        // Shorter or longer than the end says: it lies, or something follows.
        Ok(_) | Err(DecompressionError::InsufficientSpace) => gunzip_members(body, limit),
        Err(DecompressionError::BadData) => Err(GunzipError::Corrupt),
    }
}

/// Reads members until the body ends. Rare, so it needn't be fast.
fn gunzip_members(body: &[u8], limit: usize) -> Result<Vec<u8>, GunzipError> {
    let mut out = Vec::new();
    let members = flate2::read::MultiGzDecoder::new(body);
    // One byte more tells what is too long from what just fits.
    match members
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut out)
    {
        Ok(_) if out.len() > limit => Err(GunzipError::TooLarge),
        Ok(_) => Ok(out),
        Err(_) => Err(GunzipError::Corrupt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("writes");
        encoder.finish().expect("ends")
    }

    fn read(body: &[u8], limit: usize) -> Result<Vec<u8>, GunzipError> {
        gunzip(&mut Decompressor::new(), body, limit)
    }

    #[test]
    fn a_bomb_is_refused_whatever_it_claims() {
        const LIMIT: usize = 1 << 20;
        let honest = gzip(&vec![0; 64 << 20]);
        assert!(honest.len() < 1 << 17);
        assert_eq!(read(&honest, LIMIT), Err(GunzipError::TooLarge));
        for claim in [0u32, 1, 1 << 20, u32::MAX] {
            let mut lying = honest.clone();
            let end = lying.len() - 4;
            lying[end..].copy_from_slice(&claim.to_le_bytes());
            assert_eq!(read(&lying, LIMIT), Err(GunzipError::TooLarge), "{claim}");
        }
        let members = gzip(&[0; 1 << 19]).repeat(3);
        assert_eq!(read(&members, LIMIT), Err(GunzipError::TooLarge));
        let claims_much = [gzip(b"x"), vec![0xff; 4]].concat();
        assert!(read(&claims_much, usize::MAX).is_err());
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let body = gzip(&[7; 1000]);
        assert_eq!(read(&body, 1000).map(|it| it.len()), Ok(1000));
        assert_eq!(read(&body, 999), Err(GunzipError::TooLarge));
    }

    #[test]
    fn what_is_no_gzip_is_corrupt() {
        let body = gzip(b"some text, some text, some text");
        let mut flipped = body.clone();
        flipped[15] ^= 0xff;
        for bad in [
            &b""[..],
            b"no gzip, but long enough to be",
            &flipped,
            &body[..body.len() - 1],
        ] {
            assert!(read(bad, 1 << 20).is_err(), "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn one_member_or_several(
            part in prop::collection::vec(any::<u8>(), 0..300),
            mut parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..3),
            twice: bool,
        ) {
            parts.push(part.clone());
            if twice {
                parts.insert(0, part);
            }
            let body: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            prop_assert_eq!(read(&body, 1 << 20), Ok(parts.concat()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 18..100)) {
            bytes[..3].copy_from_slice(&[0x1f, 0x8b, 8]);
            let _ = read(&bytes, 1 << 16);
        }
    }
}
