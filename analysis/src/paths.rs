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

mod table;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hashbrown::DefaultHashBuilder;
use rekindle_model::{Name, Outline, Resource, Shape, Step};

use crate::LeftOut;
use crate::fence::Touched;
use crate::hops::{Timing, measure};
use crate::observe::Trail;
use crate::profile::{Places, Spent};
use crate::spectrum::Cell;
use crate::young_old::YoungOld;
use table::PathTable;

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
        /// What was read of it, by what was learned before: here mostly the only one, so that it is one way shorter to
        /// it.
        first: Arc<Reading>,
        others: Vec<Arc<Reading>>,
        /// The service that its root is of, if the path is a request only while that serves nobody.
        user: Option<Name>,
    },
}

impl Path {
    /// A request that was read for the first time.
    pub(crate) fn request(entry: usize, reading: &Arc<Reading>, user: Option<Name>) -> Self {
        Self::Request {
            entry,
            first: Arc::clone(reading),
            others: Vec::new(),
            user,
        }
    }

    /// What was read of it; nothing where it isn't counted as a request.
    pub(crate) fn readings(&self) -> impl Iterator<Item = &Arc<Reading>> + Clone {
        let (first, others): (_, &[Arc<Reading>]) = match self {
            Self::LeftOut(_) => (None, &[]),
            Self::Request { first, others, .. } => (Some(first), others),
        };
        first.into_iter().chain(others)
    }

    /// Adds what was read when nothing of this held; the oldest gives way.
    fn read_anew(&mut self, reading: &Arc<Reading>) {
        if let Self::Request { first, others, .. } = self {
            others.push(Arc::clone(reading));
            if others.len() >= MAX_READINGS {
                *first = others.remove(0);
            }
        }
    }
}

/// What a request on a path says. What is asked each time comes first, so that it lies together.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Reading {
    /// The observer's version at which it was found to hold last.
    pub(crate) held_at: AtomicU64,
    /// As of when it is known what it touches.
    pub(crate) fences: (u64, u64),
    /// Where it is counted while nobody outside says otherwise, and that cell's number.
    pub(crate) cell: Option<(Cell, u32)>,
    /// The number of its works' places together, if it is remembered.
    pub(crate) course: Option<u32>,
    pub(crate) row: Option<u32>,
    pub(crate) failed_inside: bool,
    /// How many of its failed calls were made again.
    pub(crate) again: u32,
    pub(crate) works: Vec<PathWork>,
    /// The indexes of the spans through which work left each visit, one visit's after the other's.
    pub(crate) ways_out: Vec<u32>,
    pub(crate) trail: Trail,
    /// What the registry's version must still be; `None` when it doesn't matter.
    pub(crate) registry: Option<u64>,
    /// The interventions whose targets it touches.
    pub(crate) touched: Vec<Touched>,
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
    /// How often numbers began anew.
    begun_anew: u64,
    paths: PathTable,
    /// Hashes of paths that came.
    marks: YoungOld<u64, ()>,
    hasher: DefaultHashBuilder,
    /// The steps of the path that was looked for last, none if they are too many, and their hash.
    steps: Vec<u64>,
    hash: u64,
    ahead: Ahead,
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
            begun_anew: 0,
            paths: PathTable::new(MAX_PATHS),
            marks: YoungOld::new(MAX_MARKS),
            hasher: DefaultHashBuilder::default(),
            steps: Vec::new(),
            hash: 0,
            ahead: Ahead::default(),
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
                    self.begun_anew += 1;
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

    /// Works out the paths of these requests, and waits for what is known of them. They are to be looked for in this
    /// order.
    pub(crate) fn look_ahead(&mut self, outlines: &[Outline<'_>]) {
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.clear();
        ahead.begun_anew = self.begun_anew;
        for outline in outlines {
            let from = ahead.steps.len();
            self.write_steps(outline, &mut ahead.steps);
            ahead.until.push(ahead.steps.len());
            ahead
                .hashes
                .push(self.hasher.hash_one(&ahead.steps[from..]));
        }
        self.paths.look_ahead(&ahead.hashes);
        self.ahead = ahead;
    }

    /// What is known of the path that the request is on.
    pub(crate) fn look(&mut self, outline: &Outline<'_>) -> Option<Path> {
        self.steps.clear();
        #[cfg(test)]
        if self.off {
            return None;
        }
        match self
            .ahead
            .next()
            .filter(|_| self.ahead.begun_anew == self.begun_anew)
        {
            Some((steps, hash)) => {
                self.steps.extend_from_slice(&self.ahead.steps[steps]);
                self.hash = hash;
            }
            None => {
                let mut steps = std::mem::take(&mut self.steps);
                self.write_steps(outline, &mut steps);
                self.hash = self.hasher.hash_one(steps.as_slice());
                self.steps = steps;
            }
        }
        if self.steps.is_empty() {
            return None;
        }
        self.paths.get(self.hash, &self.steps).cloned()
    }

    /// Adds the steps of this request's path, none if they are too many.
    fn write_steps(&mut self, outline: &Outline<'_>, into: &mut Vec<u64>) {
        /// Of a step: the span names no parent.
        const ROOT: u64 = 0;
        /// The parent that it names did not come.
        const ORPHAN: u64 = 1;
        /// Its parent is the first span.
        const FIRST: u64 = 2;
        /// It began together with the span before it: then their order says nothing.
        const TOGETHER: u64 = 1 << 31;
        let steps = outline.steps();
        if steps.len() > MAX_SPANS {
            return;
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
            into.push(number << 32 | together | below);
        }
    }

    /// Whether the path that was looked for last should be remembered: it came before.
    pub(crate) fn is_worth_it(&mut self) -> bool {
        if self.steps.is_empty() {
            return false;
        }
        let came = self.marks.with(&self.hash, |()| ()).is_some();
        if !came {
            self.marks.insert(self.hash, ());
        }
        came
    }

    /// Remembers the path that was looked for last.
    pub(crate) fn remember(&mut self, path: Path) {
        self.paths.insert(self.hash, &self.steps, path);
    }

    /// Remembers another reading of the path that was looked for last.
    pub(crate) fn remember_reading(&mut self, reading: &Arc<Reading>) {
        if let Some(path) = self.paths.get(self.hash, &self.steps) {
            path.read_anew(reading);
        }
    }
}

/// Paths that will be looked for.
#[derive(Debug, Default)]
struct Ahead {
    /// As of when numbers are.
    begun_anew: u64,
    /// Steps of one path after the other, where each one's end, and their hashes.
    steps: Vec<u64>,
    until: Vec<usize>,
    hashes: Vec<u64>,
    /// How many have been looked for.
    looked_for: usize,
}

impl Ahead {
    fn clear(&mut self) {
        self.steps.clear();
        self.until.clear();
        self.hashes.clear();
        self.looked_for = 0;
    }

    /// The steps of the next one, and their hash.
    fn next(&mut self) -> Option<(std::ops::Range<usize>, u64)> {
        let at = self.looked_for;
        let (until, hash) = (*self.until.get(at)?, *self.hashes.get(at)?);
        self.looked_for += 1;
        let from = at.checked_sub(1).map_or(0, |before| self.until[before]);
        Some((from..until, hash))
    }
}
