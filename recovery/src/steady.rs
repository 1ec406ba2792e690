//! What spreads decisions, where nobody may throw dice?
//!
//! A guard that is asked twice has to answer the same, and so has a rule's age limit that was drawn.
//! So such numbers are hashes of what they are about (FNV-1a: a few bytes, no secrets).

/// A number in `[0, 1)` of these bytes, always the same.
pub(crate) fn share_of(bytes: impl Iterator<Item = u8>) -> f64 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    f64::from((hash >> 32) as u32) / 4_294_967_296.0
}
