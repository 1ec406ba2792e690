//! How is a zstd body read without letting it fill the memory?
//!
//! A frame may say how long it is, and then it is decompressed in one go into just that much room.
//! What says nothing (streaming encoders don't know beforehand), lies, or has several frames is read
//! piece by piece, each piece asked of the budget before there is room for it: four bytes of zstd can
//! become 128 kB, so the length of the body says nothing.

use std::io::Read;

use zstd::bulk::Decompressor;
use zstd::stream::read::Decoder;
use zstd::zstd_safe::get_frame_content_size;

use super::budget::Hold;

/// The largest window as a power of two: 8 MiB, all that RFC 9659 allows in HTTP. A frame can ask
/// for far more, which its decoder would have to hold.
const WINDOW_LOG: u32 = 23;

/// How much is read at a time of a body that doesn't say how long it is.
const PIECE: usize = 256 << 10;

/// Why a body isn't decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnzstdError {
    /// It is, or claims to be, longer than allowed.
    TooLarge,
    /// The memory for requests is used up at present.
    MemoryFull,
    /// It isn't zstd, damaged, or wants a larger window than is allowed.
    Corrupt,
}

/// Decompresses whole frames; one for each thread that does.
pub(super) fn decompressor() -> std::io::Result<Decompressor<'static>> {
    let mut decompressor = Decompressor::new()?;
    decompressor.window_log_max(WINDOW_LOG)?;
    Ok(decompressor)
}

/// The decompressed body, of at most `limit` bytes, which are held besides the body's.
pub(super) fn unzstd(
    decompressor: &mut Decompressor<'_>,
    body: &[u8],
    limit: usize,
    hold: &mut Hold,
) -> Result<Vec<u8>, UnzstdError> {
    let claimed = get_frame_content_size(body).map_err(|_| UnzstdError::Corrupt)?;
    if let Some(claimed) = claimed {
        let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
        if claimed > limit {
            return Err(UnzstdError::TooLarge);
        }
        if !hold.grow_to(body.len() + claimed) {
            return Err(UnzstdError::MemoryFull);
        }
        let mut out = Vec::with_capacity(claimed);
        if decompressor.decompress_to_buffer(body, &mut out).is_ok() {
            return Ok(out);
        }
    }
    unzstd_pieces(body, limit, hold)
}

fn unzstd_pieces(body: &[u8], limit: usize, hold: &mut Hold) -> Result<Vec<u8>, UnzstdError> {
    let corrupt = |_| UnzstdError::Corrupt;
    let mut decoder = Decoder::with_buffer(body).map_err(corrupt)?;
    decoder.window_log_max(WINDOW_LOG).map_err(corrupt)?;
    let mut out = Vec::new();
    loop {
        // One byte more tells what is too long from what just fits.
        let piece = PIECE.min(limit - out.len() + 1);
        if !hold.grow_to(body.len() + out.len() + piece) {
            return Err(UnzstdError::MemoryFull);
        }
        let read = (&mut decoder).take(piece as u64).read_to_end(&mut out);
        let read = read.map_err(corrupt)?;
        if out.len() > limit {
            return Err(UnzstdError::TooLarge);
        }
        if read < piece {
            return Ok(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// With its length in the header.
    fn whole(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 1).expect("compresses")
    }

    /// Without, as from an encoder that streams.
    fn streamed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.write_all(bytes).expect("writes");
        encoder.finish().expect("ends")
    }

    fn read(body: &[u8], limit: usize) -> Result<Vec<u8>, UnzstdError> {
        let budget = Budget::new(16 << 20);
        let mut decompressor = decompressor().expect("a decompressor");
        unzstd(&mut decompressor, body, limit, &mut budget.hold())
    }

    #[test]
    fn a_bomb_is_refused_whatever_it_claims() {
        const LIMIT: usize = 1 << 20;
        let zeroes = vec![0; 64 << 20];
        for bomb in [whole(&zeroes), streamed(&zeroes)] {
            assert!(bomb.len() < 1 << 17);
            assert_eq!(read(&bomb, LIMIT), Err(UnzstdError::TooLarge));
            assert_eq!(read(&bomb, usize::MAX - 1), Err(UnzstdError::MemoryFull));
        }
        let frames = whole(&[0; 1 << 19]).repeat(3);
        assert_eq!(read(&frames, LIMIT), Err(UnzstdError::TooLarge));
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        for body in [whole(&[7; 1000]), streamed(&[7; 1000])] {
            assert_eq!(read(&body, 1000).map(|it| it.len()), Ok(1000));
            assert_eq!(read(&body, 999), Err(UnzstdError::TooLarge));
        }
    }

    #[test]
    fn what_is_no_zstd_is_corrupt() {
        let body = whole(b"some text, some text, some text");
        let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        wide.window_log(WINDOW_LOG + 1).expect("a wide window");
        wide.write_all(&vec![1; 20 << 20]).expect("writes");
        let wide = wide.finish().expect("ends");
        for bad in [
            &b"no zstd"[..],
            b"\x28\xb5\x2f\xfd",
            &body[..body.len() - 1],
            &wide,
        ] {
            assert_eq!(read(bad, 32 << 20), Err(UnzstdError::Corrupt));
        }
    }

    proptest! {
        #[test]
        fn one_frame_or_several(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..4),
        ) {
            let frames = parts.iter().map(|(part, streams)| if *streams { streamed(part) } else { whole(part) });
            let body: Vec<u8> = frames.flatten().collect();
            let expected: Vec<u8> = parts.iter().flat_map(|(part, _)| part.clone()).collect();
            prop_assert_eq!(read(&body, 1 << 20), Ok(expected));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 4..100),
            damage: prop::sample::Index,
            with: u8,
        ) {
            bytes[..4].copy_from_slice(&[0x28, 0xb5, 0x2f, 0xfd]);
            let _ = read(&bytes, 1 << 16);
            let mut body = whole(&bytes);
            let at = damage.index(body.len());
            body[at] = with;
            let _ = read(&body, 1 << 16);
        }
    }
}
