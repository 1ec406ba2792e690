//! Up to when is everything there that was received?
//!
//! Between the time that a request is received and the time that it is handed on lie its decoding and a flush of the
//! disk, and who came second may be handed on first. Whoever lets time pass beside what comes must know when nothing
//! earlier is under way any more, or the same journal would be heard in another order the next time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rekindle_model::UnixNanos;

/// When what is under way was received, and how many at that time.
#[derive(Debug, Default)]
pub(super) struct Receipts(Mutex<BTreeMap<UnixNanos, usize>>);

/// Something was received at this time, and is under way until this is dropped.
#[derive(Debug)]
pub struct Receipt {
    at: UnixNanos,
    all: Arc<Receipts>,
}

impl Receipt {
    /// When.
    pub fn at(&self) -> UnixNanos {
        self.at
    }
}

impl Receipts {
    /// Something is received now.
    pub(super) fn receive(self: &Arc<Self>) -> Receipt {
        self.receive_at(|| SystemTime::now().into())
    }

    /// Up to when everything was handed on, or refused: nothing that was received before is under way.
    pub(super) fn until(&self) -> UnixNanos {
        self.until_at(|| SystemTime::now().into())
    }

    /// The time is read while nobody else may read it: what is received later isn't earlier.
    fn receive_at(self: &Arc<Self>, now: impl FnOnce() -> UnixNanos) -> Receipt {
        let mut under_way = self.lock();
        let at = now();
        *under_way.entry(at).or_default() += 1;
        Receipt {
            at,
            all: Arc::clone(self),
        }
    }

    fn until_at(&self, now: impl FnOnce() -> UnixNanos) -> UnixNanos {
        let under_way = self.lock();
        let now = now();
        let oldest = under_way.keys().next();
        oldest.map_or(now, |oldest| now.min(*oldest))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UnixNanos, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut under_way = self.all.lock();
        if let Some(count) = under_way.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_holds_up_the_time_until_it_is_handed_on() {
        let receipts = Arc::new(Receipts::default());
        let until = |now: u64| receipts.until_at(|| UnixNanos(now)).0;
        let receive = |now: u64| receipts.receive_at(|| UnixNanos(now));
        assert_eq!(until(5), 5);
        let (first, second, third) = (receive(10), receive(10), receive(20));
        assert_eq!((first.at(), until(30)), (UnixNanos(10), 10));
        drop(first);
        assert_eq!(until(30), 10, "another one of that time");
        drop(third);
        assert_eq!(until(30), 10, "who came later was quicker");
        drop(second);
        assert_eq!(until(30), 30);
        // A clock that is set back.
        let _late = receive(40);
        assert_eq!(until(35), 35);
    }
}
