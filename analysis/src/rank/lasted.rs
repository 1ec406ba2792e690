//! How long did something take, before and in the window? With what comparisons ask of it worked out once.
//!
//! A ranking compares tens of thousands of these, and looks closely at a few hundred. So what all comparisons ask
//! ([`Brief`]) lies beside what is compared, one after the other, and durations lie where they are counted, in a table that
//! rankings share with whoever counts on ([`super::Times`]): to hand one out costs a number.

use std::sync::Arc;

use rekindle_stats::{LogHistogram, Moments};

/// Nanoseconds per visit in three stretches of time: the earlier and the later half of the baseline, and the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lasted {
    durations: [LogHistogram; 3],
    /// How many of each weren't measured, but are stood for by others: they say nothing of their own.
    unmeasured: [u64; 3],
}

/// What comparisons ask of all of them: of the earlier half, the later one and the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Brief {
    /// Of durations.
    pub(crate) moments: [Moments; 3],
    /// How many of the calls weren't measured, but are stood for by others.
    pub(crate) unmeasured: [u64; 3],
}

impl Lasted {
    /// Before the window, in its earlier and its later half: how much they differ is how much calm times drift.
    pub const fn baseline(&self) -> [&LogHistogram; 2] {
        [&self.durations[0], &self.durations[1]]
    }

    /// Both halves of the baseline together.
    pub fn before(&self) -> LogHistogram {
        let [earlier, later] = self.baseline();
        let mut both = earlier.clone();
        both.merge(later);
        both
    }

    /// In the window.
    pub const fn window(&self) -> &LogHistogram {
        &self.durations[2]
    }

    /// How many of the earlier half, the later one and the window weren't measured, but are stood for by others.
    pub(crate) const fn unmeasured(&self) -> [u64; 3] {
        self.unmeasured
    }

    /// Counts `n` durations of this bucket.
    pub(crate) fn add(&mut self, stretch: usize, bucket: u16, n: u64) {
        self.durations[stretch].add_many(bucket, n);
    }

    /// Takes them back.
    pub(crate) fn take_out(&mut self, stretch: usize, bucket: u16, n: u64) {
        self.durations[stretch].remove_many(bucket, n);
    }

    /// Counts `n` that weren't measured.
    pub(crate) fn add_unmeasured(&mut self, stretch: usize, n: u64) {
        self.unmeasured[stretch] += n;
    }

    /// Takes them back.
    pub(crate) fn take_out_unmeasured(&mut self, stretch: usize, n: u64) {
        self.unmeasured[stretch] -= n;
    }

    /// Works out what comparisons will ask; `None` where nothing is counted.
    pub(crate) fn work_out(&self) -> Option<Brief> {
        (!self.is_empty()).then(|| Brief {
            moments: [0, 1, 2].map(|stretch| Moments::of(&self.durations[stretch])),
            unmeasured: self.unmeasured,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.durations
            .iter()
            .all(|durations| durations.total() == 0)
    }
}

/// What was counted of everything that is timed, by number.
pub(crate) type Counted = Vec<Arc<Lasted>>;
