//! Seeds, or other jobs, side by side on all cores, with results in their order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Options, SimulateError};

/// Calls `job` for every seed.
///
/// # Errors
/// The first seed's that had one.
pub(super) fn over_seeds<T: Send>(
    options: &Options,
    job: impl Fn(u64) -> Result<T, SimulateError> + Sync,
) -> Result<Vec<T>, SimulateError> {
    let count = u64::from(options.seeds.max(1));
    side_by_side(count, |at| job(options.seed.wrapping_add(at)))
}

/// Calls `job` for every number below `count`.
///
/// # Errors
/// That of the first that had one.
pub(super) fn side_by_side<T: Send>(
    count: u64,
    job: impl Fn(u64) -> Result<T, SimulateError> + Sync,
) -> Result<Vec<T>, SimulateError> {
    let next = AtomicU64::new(0);
    let results = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(count as usize) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    let result = job(at);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
