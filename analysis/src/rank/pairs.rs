//! Which traces show the difference? A failed request, and the good one that went the same way.
//!
//! Good requests at random differ from the failed one in everything: another page, another path. The
//! one most like it differs, as far as anything does, in what went wrong. Like is who touched the same
//! components, of the same request type first; among equals the smallest hash decides, so that the
//! choice is the same wherever and whenever it is made.

use std::cmp::Reverse;

use rekindle_model::TraceId;

use super::input::{Input, ShownTrace};
use crate::{Examples, Pair, Shape};

/// How many examples of each kind a suspect shows.
const EXAMPLES: usize = 3;

/// Examples, and which good one belongs to which failed one.
pub(crate) struct Chosen {
    pub(crate) examples: Examples,
    pub(crate) pairs: Vec<Pair>,
}

/// Chooses for one suspect.
pub(crate) fn chosen(input: &Input, subject: usize, shape: Shape) -> Chosen {
    let (mut failed, mut touching, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for shown in &input.shown {
        let state = input.rows[shown.row].state_of(subject);
        let origin = state.is_some_and(|state| state.is_origin());
        if shown.bad {
            if origin || (state.is_some() && shape == Shape::WrongAnswer) {
                failed.push(shown);
            }
        } else if state.is_none() {
            others.push(shown);
        } else if !origin {
            touching.push(shown);
        }
    }
    // Who shows what the suspect does when it is well; a killed one may leave nobody.
    let mut good = if touching.is_empty() {
        others
    } else {
        touching
    };
    failed.sort_by_key(|shown| (mixed(shown.trace_id), shown.trace_id));
    failed.truncate(EXAMPLES);
    let mut chosen = Chosen {
        examples: Examples::default(),
        pairs: Vec::new(),
    };
    for bad in &failed {
        chosen.examples.failed.push(bad.trace_id);
        if let Some((at, (_, alike))) = nearest(input, bad, &good) {
            let ok = good.remove(at).trace_id;
            chosen.examples.ok.push(ok);
            let failed = bad.trace_id;
            chosen.pairs.push(Pair { failed, ok, alike });
        }
    }
    good.sort_by_key(|shown| (mixed(shown.trace_id), shown.trace_id));
    let missing = EXAMPLES.saturating_sub(chosen.examples.ok.len());
    let more = good.iter().take(missing).map(|shown| shown.trace_id);
    chosen.examples.ok.extend(more);
    chosen
}

/// The index of the good one that is most like the bad one, and how much.
fn nearest(input: &Input, bad: &ShownTrace, good: &[&ShownTrace]) -> Option<(usize, (bool, f64))> {
    let like = |ok: &ShownTrace| {
        (
            ok.request_type == bad.request_type,
            alike(input, bad.row, ok.row),
        )
    };
    let all = good.iter().enumerate().map(|(at, ok)| (at, like(ok)));
    all.max_by(|(a, x), (b, y)| {
        let key = |at: usize| Reverse((mixed(good[at].trace_id), good[at].trace_id));
        x.0.cmp(&y.0)
            .then_with(|| x.1.total_cmp(&y.1))
            .then_with(|| key(*a).cmp(&key(*b)))
    })
}

/// The share of what either row touches that both touch.
fn alike(input: &Input, a: usize, b: usize) -> f64 {
    let (a, b) = (&input.rows[a].touches, &input.rows[b].touches);
    let both = a
        .iter()
        .filter(|touch| {
            b.binary_search_by_key(&touch.subject, |other| other.subject)
                .is_ok()
        })
        .count();
    let either = a.len() + b.len() - both;
    both as f64 / either.max(1) as f64
}

/// Trace ids are random by specification, but not everyone keeps to it; mixed, a counter is too.
fn mixed(id: TraceId) -> u64 {
    let id = id.get();
    let mut z = (id as u64) ^ ((id >> 64) as u64).rotate_left(32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
