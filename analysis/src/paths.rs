//! Has a request gone exactly this way before?
//!
//! Nearly all have: the same few thousand trees of the same spans come again and again, with other
//! ids and times. What a span says beside those is its shape, and what a request says about its
//! components follows from the shapes, who is whose parent and in which order they began. So that is
//! worked out once for each *path*, and then a request costs looking its path up and adding to counts.
//! Nothing is told apart less finely than without: where times or what was learned since decide, a
//! path says so, and the request is read by itself.
//!
//! Shapes that are equal have one number, wherever they come from. A path is remembered when it comes
//! for the second time, so that what never comes again costs little.

#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use rekindle_model::{Name, Shape, Trace};

use crate::LeftOut;
use crate::hops::Timing;
use crate::observe::Trail;
use crate::profile::Places;
use crate::young_old::YoungOld;

/// Shapes of each age that are remembered. A thousand instances with ten operations each that end in
/// two ways are 20,000; all full, some 10 MB.
const MAX_SHAPES: usize = 1 << 15;

/// Paths of each age that are remembered; a path of ten spans is some 700 bytes, so all full are some
/// 20 MB.
const MAX_PATHS: usize = 1 << 14;

/// Longer paths hardly come twice.
const MAX_SPANS: usize = 128;

/// So many ways to read one path are remembered: what was learned since may have decided, and decide
/// differently again.
const MAX_READINGS: usize = 4;

/// So many paths of each age that came once leave a mark, of nine bytes.
const MAX_MARKS: usize = 1 << 16;

/// A shape that was met, by its address.
#[derive(Debug)]
struct Met {
    number: u32,
    known: Known,
    /// So that nothing else gets its address.
    _shape: Arc<Shape>,
}

/// What is remembered of one shape.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Whether it was looked at for who serves others.
    pub(crate) learned: bool,
    /// Whether monitoring asks so, where it is an entry.
    pub(crate) health_check: Option<bool>,
    /// Whether the span failed.
    pub(crate) failed: Option<bool>,
    /// The number of its request type, where it is an entry.
    pub(crate) request_type: Option<u32>,
}

/// All that is known of a path.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    /// It isn't counted as a request.
    LeftOut(LeftOut),
    /// A request.
    Request {
        /// The index of its entry span.
        entry: usize,
        /// What was read of it, by what was learned before; never empty.
        readings: Vec<Arc<Reading>>,
        /// The service that its root is of, if the path is a request only while that serves nobody.
        user: Option<Name>,
    },
}

/// What a request on a path says.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) row: Option<u32>,
    pub(crate) failed_inside: bool,
    pub(crate) works: Vec<PathWork>,
    pub(crate) trail: Trail,
    /// What the registry's version must still be; `None` when it doesn't matter.
    pub(crate) registry: Option<u64>,
    /// The interventions whose targets it touches.
    pub(crate) touched: Vec<Name>,
    /// As of when that is known.
    pub(crate) fences: (u64, u64),
    /// What was left out while it was read, each time again.
    pub(crate) left_out: Vec<(LeftOut, u64)>,
}

/// One visit, or one call of a dependency, of a path.
#[derive(Debug)]
pub(crate) struct PathWork {
    pub(crate) component: u32,
    pub(crate) timing: Timing,
    pub(crate) places: Places,
}

/// The path of a request: per span the number of its shape, and what it hangs below.
type Steps = [u64];

/// Everything that is remembered.
#[derive(Debug)]
pub(crate) struct Paths {
    by_address: YoungOld<usize, Met>,
    by_value: YoungOld<Arc<Shape>, u32>,
    next_number: u32,
    paths: YoungOld<Box<Steps>, Arc<Path>>,
    /// Hashes of paths that came.
    marks: YoungOld<u64, ()>,
    hasher: DefaultHashBuilder,
    steps: Vec<u64>,
    #[cfg(test)]
    pub(crate) off: bool,
}

impl Paths {
    pub(crate) fn new() -> Self {
        Self {
            by_address: YoungOld::new(MAX_SHAPES),
            by_value: YoungOld::new(MAX_SHAPES),
            next_number: 0,
            paths: YoungOld::new(MAX_PATHS),
            marks: YoungOld::new(MAX_MARKS),
            hasher: DefaultHashBuilder::default(),
            steps: Vec::new(),
            #[cfg(test)]
            off: false,
        }
    }

    /// Forgets everything: components, rows and whatever else is remembered by number have others.
    pub(crate) fn clear(&mut self) {
        self.by_address.clear();
        self.by_value.clear();
        self.paths.clear();
        self.marks.clear();
    }

    /// Does something with what is remembered of this shape.
    #[inline]
    pub(crate) fn with_shape<R>(
        &mut self,
        shape: &Arc<Shape>,
        act: impl FnOnce(&mut Known) -> R,
    ) -> R {
        let address = Arc::as_ptr(shape).addr();
        let mut act = Some(act);
        let done = self
            .by_address
            .with(&address, |met| act.take().map(|act| act(&mut met.known)));
        match (done.flatten(), act) {
            (Some(answer), _) => answer,
            (None, Some(act)) => {
                let mut met = self.meet(shape);
                let answer = act(&mut met.known);
                self.by_address.insert(address, met);
                answer
            }
            (None, None) => unreachable!("what is done gives an answer"),
        }
    }

    #[inline]
    fn number_of(&mut self, shape: &Arc<Shape>) -> u32 {
        let address = Arc::as_ptr(shape).addr();
        if let Some(number) = self.by_address.with(&address, |met| met.number) {
            return number;
        }
        let met = self.meet(shape);
        let number = met.number;
        self.by_address.insert(address, met);
        number
    }

    #[cold]
    fn meet(&mut self, shape: &Arc<Shape>) -> Met {
        let number = match self.by_value.with(&**shape, |number| *number) {
            Some(number) => number,
            None => {
                if self.next_number == u32::MAX {
                    self.clear();
                    self.next_number = 0;
                }
                self.next_number += 1;
                self.by_value.insert(Arc::clone(shape), self.next_number);
                self.next_number
            }
        };
        Met {
            number,
            known: Known::default(),
            _shape: Arc::clone(shape),
        }
    }

    /// What is known of the path that the request is on.
    pub(crate) fn look(&mut self, trace: &Trace) -> Option<Arc<Path>> {
        /// Of a step: the span names no parent.
        const ROOT: u64 = 0;
        /// The parent that it names did not come.
        const ORPHAN: u64 = 1;
        /// Its parent is the first span.
        const FIRST: u64 = 2;
        /// It began together with the span before it: then their order says nothing.
        const TOGETHER: u64 = 1 << 31;
        self.steps.clear();
        #[cfg(test)]
        if self.off {
            return None;
        }
        let spans = trace.spans();
        if spans.len() > MAX_SPANS {
            return None;
        }
        let mut last = None;
        for (index, span) in spans.iter().enumerate() {
            let below = match trace.parent(index) {
                Some(parent) => FIRST + parent as u64,
                None if span.parent_id.is_some() => ORPHAN,
                None => ROOT,
            };
            let together = if last == Some(span.start) {
                TOGETHER
            } else {
                0
            };
            last = Some(span.start);
            let number = u64::from(self.number_of(&span.shape));
            self.steps.push(number << 32 | together | below);
        }
        self.paths
            .with(self.steps.as_slice(), |path| Arc::clone(path))
    }

    /// Whether the path that was looked for last should be remembered: it came before.
    pub(crate) fn is_worth_it(&mut self) -> bool {
        if self.steps.is_empty() {
            return false;
        }
        let mark = self.hasher.hash_one(&self.steps);
        let came = self.marks.with(&mark, |()| ()).is_some();
        if !came {
            self.marks.insert(mark, ());
        }
        came
    }

    /// Remembers the path that was looked for last.
    pub(crate) fn remember(&mut self, path: Path) {
        let steps = self.steps.as_slice();
        self.paths.insert(steps.into(), Arc::new(path));
    }

    /// Remembers another reading of the path that was looked for last.
    pub(crate) fn remember_reading(&mut self, reading: &Arc<Reading>) {
        self.paths.with(self.steps.as_slice(), |path| {
            if let Path::Request { readings, .. } = Arc::make_mut(path) {
                if readings.len() >= MAX_READINGS {
                    readings.remove(0);
                }
                readings.push(Arc::clone(reading));
            }
        });
    }
}
