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
//! for the second time, so that what never comes again costs little. A shape that is remembered holds its
//! names, so all that remembers shapes ages, and a burst of made-up names is forgotten for what came after it.

#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hashbrown::DefaultHashBuilder;
use rekindle_model::{Name, Outline, Resource, Shape, Step};

use crate::LeftOut;
use crate::hops::{Timing, measure};
use crate::observe::Trail;
use crate::profile::{Places, Spent};
use crate::spectrum::Cell;
use crate::young_old::YoungOld;

/// Shapes of each age that are remembered. A thousand instances with ten operations each that end in
/// two ways are 20,000; all full, some 10 MB, and the shapes themselves, which nobody else may hold any
/// more. Those are some 400 bytes each, so 50 MB at most: of equal ones two may be remembered.
const MAX_SHAPES: usize = 1 << 15;

/// Processes of each age that are remembered.
const MAX_PROCESSES: usize = 1 << 12;

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
    /// Where it is counted while nobody outside says otherwise, and that cell's number.
    pub(crate) cell: Option<(Cell, u32)>,
    pub(crate) works: Vec<PathWork>,
    /// The number of its works' places together, if it is remembered.
    pub(crate) course: Option<u32>,
    /// The indexes of the spans through which work left each visit, one visit's after the other's.
    pub(crate) ways_out: Vec<u32>,
    pub(crate) trail: Trail,
    /// What the registry's version must still be; `None` when it doesn't matter.
    pub(crate) registry: Option<u64>,
    /// The interventions whose targets it touches.
    pub(crate) touched: Vec<Name>,
    /// As of when that is known.
    pub(crate) fences: (u64, u64),
    /// The observer's version at which it was found to hold last.
    pub(crate) held_at: AtomicU64,
    /// What was left out while it was read, each time again.
    pub(crate) left_out: Vec<(LeftOut, u64)>,
}

/// One visit, or one call of a dependency, of a path.
#[derive(Debug)]
pub(crate) struct PathWork {
    pub(crate) component: u32,
    /// As of its timing.
    entry: u32,
    call: Option<u32>,
    /// Where its ways out end.
    ways_end: u32,
    pub(crate) places: Places,
}

impl Reading {
    /// Adds a work that is counted in these places.
    pub(crate) fn add(&mut self, component: u32, timing: &Timing, places: Places) {
        self.ways_out.extend(&timing.ways_out);
        self.works.push(PathWork {
            component,
            entry: timing.entry,
            call: timing.call,
            // A trace has fewer than four billion spans.
            ways_end: self.ways_out.len() as u32,
            places,
        });
    }

    /// How long each work took in a trace on this path.
    #[inline]
    pub(crate) fn spent(&self, steps: &[Step]) -> impl Iterator<Item = (&PathWork, Spent)> {
        let times = |index: u32| {
            let step = &steps[index as usize];
            (step.start.0, step.end.0)
        };
        let mut ways_from = 0;
        self.works.iter().map(move |work| {
            let ways_end = work.ways_end as usize;
            let ways = &self.ways_out[std::mem::replace(&mut ways_from, ways_end)..ways_end];
            (work, measure(work.entry, work.call, ways, times))
        })
    }
}

/// The path of a request: per span the number of its shape, and what it hangs below.
type Steps = [u64];

/// Everything that is remembered.
#[derive(Debug)]
pub(crate) struct Paths {
    /// By the place where the assembler holds it: spans in flight share some thousand places. A place that
    /// isn't used again would hold its shape for ever, so all are forgotten when `by_address` forgets.
    by_place: Vec<(Arc<Shape>, u32)>,
    /// The changes of `by_address` that places were forgotten for.
    forgotten_for: u64,
    /// What is at places that nothing is known of.
    nothing: Arc<Shape>,
    by_address: YoungOld<usize, Met>,
    /// By the hash of what they say.
    by_value: YoungOld<u64, (Arc<Shape>, u32)>,
    /// The hashes of processes, by their addresses: most of what a shape says is said by its process.
    processes: YoungOld<usize, (u64, Arc<Resource>)>,
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
            by_place: Vec::new(),
            forgotten_for: 0,
            nothing: Arc::default(),
            by_address: YoungOld::new(MAX_SHAPES),
            by_value: YoungOld::new(MAX_SHAPES),
            processes: YoungOld::new(MAX_PROCESSES),
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
        self.by_place.clear();
        self.by_address.clear();
        self.by_value.clear();
        self.processes.clear();
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

    /// The number of this shape, which an assembler holds at this place.
    #[inline]
    fn number_at(&mut self, place: u32, shape: &Arc<Shape>) -> u32 {
        match self.by_place.get(place as usize) {
            Some((held, number)) if Arc::ptr_eq(held, shape) => *number,
            _ => self.number_newly_at(place as usize, shape),
        }
    }

    #[cold]
    fn number_newly_at(&mut self, place: usize, shape: &Arc<Shape>) -> u32 {
        let number = self.number_of(shape);
        let changes = self.by_address.changes();
        if self.forgotten_for != changes {
            self.forgotten_for = changes;
            self.by_place.clear();
        }
        if place < MAX_SHAPES {
            let nothing = &self.nothing;
            if place >= self.by_place.len() {
                let empty = || (Arc::clone(nothing), 0);
                self.by_place.resize_with(place + 1, empty);
            }
            self.by_place[place] = (Arc::clone(shape), number);
        }
        number
    }

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
        let hash = self.hash_of(shape);
        let same = |(other, number): &mut (Arc<Shape>, u32)| (other == shape).then_some(*number);
        let number = match self.by_value.with(&hash, same).flatten() {
            Some(number) => number,
            // Two that differ under one hash push each other out, which costs only time.
            None => {
                if self.next_number == u32::MAX {
                    self.clear();
                    self.next_number = 0;
                }
                self.next_number += 1;
                let met = (Arc::clone(shape), self.next_number);
                self.by_value.insert(hash, met);
                self.next_number
            }
        };
        Met {
            number,
            known: Known::default(),
            _shape: Arc::clone(shape),
        }
    }

    fn hash_of(&mut self, shape: &Shape) -> u64 {
        let process = &shape.resource;
        let address = Arc::as_ptr(process).addr();
        let known = self.processes.with(&address, |(hash, _)| *hash);
        let of_process = known.unwrap_or_else(|| {
            let hash = self.hasher.hash_one(process);
            self.processes.insert(address, (hash, Arc::clone(process)));
            hash
        });
        let Shape {
            kind,
            name,
            scope,
            status,
            status_message,
            resource: _,
            facts,
            attributes,
        } = shape;
        let said = (kind, name, scope, status, status_message, facts, attributes);
        self.hasher.hash_one((of_process, said))
    }

    /// What is known of the path that the request is on.
    pub(crate) fn look(&mut self, outline: &Outline<'_>) -> Option<Arc<Path>> {
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
        let steps = outline.steps();
        if steps.len() > MAX_SPANS {
            return None;
        }
        let mut last = None;
        for (index, step) in steps.iter().enumerate() {
            let below = match outline.parent(index) {
                Some(parent) => FIRST + parent as u64,
                None if step.parent_id.is_some() => ORPHAN,
                None => ROOT,
            };
            let together = if last == Some(step.start) {
                TOGETHER
            } else {
                0
            };
            last = Some(step.start);
            let number = u64::from(self.number_at(step.shape, outline.shape(step)));
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
