//! Ageing: a component that keeps a piece of memory at each call and never gives it back.
//!
//! Not one of the faults: no request fails by it, so nobody can be found guilty. It is what preventive
//! restarts are for. The memory is the life's own, and ends with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use memmap2::MmapMut;
use serde::{Deserialize, Serialize};

/// The most that a life may keep, in bytes and in pieces: a demo must not take the machine with it.
const MOST: usize = 1 << 30;
const MOST_PIECES: usize = 10_000;

/// A leak to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leak {
    /// In which component, such as `catalog.search`.
    pub component: String,
    /// What each of its calls keeps, in bytes; 0 closes the leak.
    pub bytes_per_call: usize,
}

/// What one life keeps.
#[derive(Default)]
pub(crate) struct Kept {
    per_call: AtomicUsize,
    /// Mapped, not allocated: what is given back to an allocator may stay the process's for a long
    /// while, and then the gauge shows the allocator's habits.
    pieces: Mutex<Vec<MmapMut>>,
}

impl Kept {
    /// Keeps so much at each call from now on.
    pub(crate) fn open(&self, bytes_per_call: usize) {
        self.per_call
            .store(bytes_per_call.min(MOST), Ordering::Relaxed);
    }

    /// A call came.
    pub(crate) fn call(&self) {
        let bytes = self.per_call.load(Ordering::Relaxed);
        if bytes == 0 {
            return;
        }
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = pieces.iter().map(|piece| piece.len()).sum();
        if kept + bytes > MOST || pieces.len() >= MOST_PIECES {
            return;
        }
        // Without room there is nothing to leak.
        if let Ok(mut piece) = MmapMut::map_anon(bytes) {
            // Written to, or the system would only promise it.
            piece.fill(0xa5);
            pieces.push(piece);
        }
    }

    /// The life is over.
    pub(crate) fn end(&self) {
        self.per_call.store(0, Ordering::Relaxed);
        self.pieces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// What it keeps, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.iter().map(|piece| piece.len()).sum()
    }
}
