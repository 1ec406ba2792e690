//! How long does it take to infer who fails when whom fails, among 10,000 units?
//!
//! The map is inferred anew whenever it is asked for, beside rankings and plans; 20 ms leave room for both
//! (published: 21 ms at the 99th percentile on graphs of Alibaba's). Units call each other as services do: each
//! four others, mostly a few that everybody calls, and counts are such that one edge in three is clear.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rekindle_recovery::tree::failure_map::{Seen, infer, infer_since};

const UNITS: usize = 10_000;
const CALLS: usize = 4;

fn seen() -> Vec<Seen> {
    let mut pairs = Vec::new();
    // A fixed recurrence (Knuth's MMIX), so that every run measures the same graph.
    let mut state: u64 = 1;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for target in 0..UNITS {
        for call in 0..CALLS {
            // Half of the calls go to one unit in a hundred.
            let source = match call % 2 {
                0 => next(UNITS / 100),
                _ => next(UNITS),
            };
            pairs.push(Seen {
                source,
                target,
                failed: 20,
                also: [18, 2, 1][next(3)],
                well: 1000,
                anyway: 30,
            });
        }
    }
    pairs
}

fn inferring(criterion: &mut Criterion) {
    let pairs = seen();
    let map = infer(&pairs);
    let name = format!(
        "failure map of {UNITS} units: {} pairs seen, {} edges, {} groups",
        pairs.len(),
        map.edges.len(),
        map.groups.len()
    );
    criterion.bench_function(&name, |bencher| {
        bencher.iter(|| infer_since(&map, black_box(&pairs)))
    });
}

criterion_group!(benches, inferring);
criterion_main!(benches);
