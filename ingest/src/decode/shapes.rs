//! Has a span said just this before?
//!
//! Most have: a system has some thousands of shapes, and sends each of them thousands of times. They
//! are remembered by their signatures in two tables. When the younger is full it becomes the older,
//! and what is asked for again moves back to the younger; so what isn't sent any more (the shapes of
//! instances that are gone, of messages with an id in them) is forgotten, in bounded memory.
//!
//! A stream in which each span says something new would make all that comes after cost several times
//! as much: names, shapes, components, paths. So what is new has to be paid for by what is known, and
//! when that is used up, spans lose what tells them apart (see [`super::builder`]), counted.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::hash_table::{Entry, HashTable};
use hashbrown::{DefaultHashBuilder, HashMap};
use rekindle_model::{Name, Shape};

use super::intern::{Interner, TextCounts};
use crate::packed::PackedSpans;

/// Shapes per table. A thousand instances with ten operations each that end in two ways are 20,000;
/// both tables full are some 40 MB.
const SHAPES_PER_TABLE: usize = 1 << 15;

/// Places for the marks of shapes that came once, four bytes each: twice as many as there are shapes
/// worth remembering, so that few push each other out.
const MARKS: usize = 1 << 16;
/// Marks in one place.
const IN_PLACE: usize = 2;

/// Bytes of a signature worth remembering. Beyond, a span has attributes of some length, which are
/// hardly the same twice.
const MAX_REMEMBERED_BYTES: usize = 4 << 10;

/// Spans of known shapes that pay for a new one. An honest system's new shapes are a few in thousands
/// but for its beginning, which is paid for in advance.
const NEW_COSTS: usize = 8;

/// Scopes numbered at a time: instrumentation libraries, of which a process has a dozen.
const MAX_SCOPES: usize = 4096;

/// A shape that is remembered. It is found by its signature, or by the bytes of spans ([`super::seen`]), of which many may
/// mean the same; but in the list of a request it has one place, whichever way it was found.
#[derive(Debug)]
pub(crate) struct Kept {
    shape: Arc<Shape>,
    /// What was done to its texts, which is counted for each span.
    pub(crate) texts: TextCounts,
    /// Its place in the list of the request that it came in last.
    place: AtomicU32,
}

impl Kept {
    /// The place in `spans`.
    pub(crate) fn place(&self, spans: &mut PackedSpans) -> u32 {
        let place = self.place.load(Ordering::Relaxed);
        let there = spans.shapes().get(place as usize);
        if there.is_some_and(|there| Arc::ptr_eq(there, &self.shape)) {
            return place;
        }
        let place = spans.add_shape(Arc::clone(&self.shape));
        self.place.store(place, Ordering::Relaxed);
        place
    }
}

/// A shape by what was said.
struct Known {
    signature: Box<[u8]>,
    kept: Arc<Kept>,
}

/// Where a shape is in the list of a request.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) place: u32,
    /// It, where it was remembered before.
    pub(crate) known: Option<Arc<Kept>>,
}

/// Shapes by their signatures.
pub(crate) struct ShapeTable {
    younger: HashTable<Known>,
    older: HashTable<Known>,
    hasher: DefaultHashBuilder,
    per_table: usize,
    /// Shapes that weren't remembered since the last change of tables, for want of room for names.
    not_remembered: usize,
    /// What came once leaves a mark of its hash. Of one place, the older is pushed out: of two that come in turns for ever
    /// neither would be remembered if they had room for one.
    marks: Box<[[u32; IN_PLACE]]>,
    /// What new shapes can still be paid with.
    credit: usize,
    /// The number of the request being read.
    request: u64,
    /// How often the younger has become the older.
    changes: u64,
}

impl ShapeTable {
    pub(crate) fn new() -> Self {
        Self::with_room_for(SHAPES_PER_TABLE)
    }

    fn with_room_for(per_table: usize) -> Self {
        Self {
            younger: HashTable::new(),
            older: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            per_table,
            not_remembered: 0,
            marks: vec![[0; IN_PLACE]; MARKS / IN_PLACE].into(),
            credit: NEW_COSTS * per_table,
            request: 0,
            changes: 0,
        }
    }

    /// Another number whenever shapes were forgotten.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The number of the request being read.
    pub(crate) fn request(&self) -> u64 {
        self.request
    }

    /// Something of a known shape came that wasn't looked for here.
    #[inline]
    pub(crate) fn came_again(&mut self) {
        self.credit = (self.credit + 1).min(NEW_COSTS * self.per_table);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.younger.len() + self.older.len()
    }

    /// Begins another request, which has a list of shapes of its own.
    pub(crate) fn next_request(&mut self) {
        self.request += 1;
    }

    /// The place in `spans` of the shape with this signature, which `make` makes if it isn't known;
    /// `None` when there were too many new ones of late.
    #[inline]
    pub(crate) fn place(
        &mut self,
        signature: &[u8],
        names: &mut Interner,
        spans: &mut PackedSpans,
        make: impl FnOnce(&mut Interner) -> Shape,
    ) -> Option<Placed> {
        let hash = self.hasher.hash_one(signature);
        let found = self
            .younger
            .find(hash, |known| *known.signature == *signature);
        if let Some(Known { kept, .. }) = found {
            names.count(kept.texts);
            let placed = Placed {
                place: kept.place(spans),
                known: Some(Arc::clone(kept)),
            };
            self.came_again();
            return Some(placed);
        }
        let place = self.place_rare(hash, signature, names, spans, make)?;
        Some(Placed { place, known: None })
    }

    /// The same for what is left of a new one: it is made when it comes for the second time, and pays for
    /// nothing, since what is new became it.
    pub(crate) fn place_known(
        &mut self,
        signature: &[u8],
        names: &mut Interner,
        spans: &mut PackedSpans,
        make: impl FnOnce(&mut Interner) -> Shape,
    ) -> Option<u32> {
        let credit = std::mem::take(&mut self.credit);
        let placed = self.place(signature, names, spans, make);
        self.credit = credit;
        placed.map(|it| it.place)
    }

    /// The same for a signature of which there are few: its shape is made whatever came of late.
    pub(crate) fn place_anyway(
        &mut self,
        signature: &[u8],
        names: &mut Interner,
        spans: &mut PackedSpans,
        make: impl Fn(&mut Interner) -> Shape,
    ) -> u32 {
        let credit = std::mem::replace(&mut self.credit, NEW_COSTS);
        let placed = self.place(signature, names, spans, &make);
        self.credit = credit;
        let place = placed.map(|it| it.place);
        place.unwrap_or_else(|| spans.add_shape(Arc::new(make(names))))
    }

    #[cold]
    fn place_rare(
        &mut self,
        hash: u64,
        signature: &[u8],
        names: &mut Interner,
        spans: &mut PackedSpans,
        make: impl FnOnce(&mut Interner) -> Shape,
    ) -> Option<u32> {
        let known = self
            .older
            .find_entry(hash, |known| *known.signature == *signature);
        let known = match known {
            Ok(entry) => {
                let (known, _) = entry.remove();
                names.count(known.kept.texts);
                known
            }
            Err(_) => {
                // A stream of shapes that never come again should cost little, and forget nothing.
                let came = self.leave_mark(hash);
                if !came {
                    self.credit = self.credit.checked_sub(NEW_COSTS)?;
                }
                let before = names.counts();
                let shape = Arc::new(make(names));
                let texts = names.counts().since(before);
                // A name for which there was no room may find some the next time.
                if texts.overflowed > 0 {
                    self.make_room_for_names();
                    return Some(spans.add_shape(shape));
                }
                if !came || signature.len() > MAX_REMEMBERED_BYTES {
                    return Some(spans.add_shape(shape));
                }
                let kept = Kept {
                    shape,
                    texts,
                    place: AtomicU32::new(0),
                };
                Known {
                    signature: signature.into(),
                    kept: Arc::new(kept),
                }
            }
        };
        if self.younger.len() >= self.per_table {
            self.change_tables();
        }
        let place = known.kept.place(spans);
        let hasher = &self.hasher;
        let entry = self.younger.entry(
            hash,
            |other| other.signature == known.signature,
            |other| hasher.hash_one(&*other.signature),
        );
        if let Entry::Vacant(vacant) = entry {
            vacant.insert(known);
        }
        Some(place)
    }

    /// Whether something of this hash came before, but for a few.
    fn leave_mark(&mut self, hash: u64) -> bool {
        let mark = (hash >> 32) as u32 | 1;
        let [newer, older] = &mut self.marks[hash as usize % (MARKS / IN_PLACE)];
        let came = [*newer, *older].contains(&mark);
        if !came {
            *older = std::mem::replace(newer, mark);
        }
        came
    }

    fn change_tables(&mut self) {
        std::mem::swap(&mut self.younger, &mut self.older);
        self.younger.clear();
        self.not_remembered = 0;
        self.changes += 1;
    }

    /// What is remembered here holds names, and when they leave no room for new ones, nothing new
    /// would be remembered, so that nothing old would ever be forgotten.
    fn make_room_for_names(&mut self) {
        self.not_remembered += 1;
        if self.not_remembered >= self.per_table / 4 {
            self.change_tables();
        }
    }
}

/// The instrumentation scope of some spans.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) name: Option<Name>,
    /// Equal only for equal names; 0 for none.
    pub(crate) number: u64,
    /// Whether it carries the marks of a sampler that doesn't say how many it drops.
    pub(crate) is_sampled: bool,
}

/// Scopes that were seen lately.
#[derive(Default)]
pub(crate) struct ScopeTable {
    numbers: HashMap<Name, u64>,
    last: u64,
}

impl ScopeTable {
    /// The scope of this name.
    pub(crate) fn scope(&mut self, names: &mut Interner, name: &[u8]) -> Scope {
        if name.is_empty() {
            return Scope::default();
        }
        let name = names.name(name);
        let number = match self.numbers.get(&name) {
            Some(number) => *number,
            None => {
                if self.numbers.len() >= MAX_SCOPES {
                    self.numbers.clear();
                }
                self.last += 1;
                self.numbers.insert(name.clone(), self.last);
                self.last
            }
        };
        Scope {
            name: Some(name),
            number,
            is_sampled: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Shape {
        Shape {
            name: name.into(),
            ..Shape::default()
        }
    }

    #[test]
    fn what_is_sent_on_is_kept_and_the_rest_forgotten() {
        let (mut table, mut names) = (ShapeTable::with_room_for(100), Interner::new());
        let mut made = 0;
        for round in 0..1000u32 {
            table.next_request();
            let mut spans = PackedSpans::default();
            let once = format!("sent once, {round}");
            // What is sent on pays for the other.
            for (text, times) in [("sent on".to_owned(), NEW_COSTS), (once, 3)] {
                for _ in 0..times {
                    table.place(text.as_bytes(), &mut names, &mut spans, |_| {
                        made += 1;
                        named(&text)
                    });
                }
            }
            // Only what was there before has one place in the list.
            let places = spans.shapes().len();
            assert_eq!(places, if round == 0 { 4 } else { 3 });
            assert!(table.younger.len() + table.older.len() <= 200);
        }
        assert_eq!(made, 2 + 2 * 1000);
    }

    /// What only ever comes once is soon refused, and what comes again isn't; nor is what is new, once
    /// enough that is known has come.
    #[test]
    fn what_is_new_is_paid_for_by_what_is_known() {
        let (mut table, mut names) = (ShapeTable::with_room_for(100), Interner::new());
        let mut spans = PackedSpans::default();
        let mut place = |table: &mut ShapeTable, text: &str| {
            table.place(text.as_bytes(), &mut names, &mut spans, |_| named(text))
        };
        place(&mut table, "sent on");
        place(&mut table, "sent on");
        let flood = 0..1000;
        let taken = flood.filter(|it| place(&mut table, &it.to_string()).is_some());
        assert_eq!(taken.count(), 99, "one was paid for before");
        assert!(place(&mut table, "twice").is_none());
        assert!(place(&mut table, "twice").is_some());
        for _ in 0..NEW_COSTS {
            assert!(place(&mut table, "sent on").is_some());
        }
        assert!(place(&mut table, "new").is_some());
        assert!(place(&mut table, "newer").is_none());
    }

    #[test]
    fn a_shape_without_room_for_its_name_is_made_again() {
        let (mut table, mut names) = (ShapeTable::new(), Interner::new());
        let mut spans = PackedSpans::default();
        for _ in 0..2 {
            table.place(b"one", &mut names, &mut spans, |names| {
                names.count(TextCounts {
                    overflowed: 1,
                    ..TextCounts::default()
                });
                named("other")
            });
        }
        assert_eq!(spans.shapes().len(), 2);
    }

    #[test]
    fn what_was_done_to_texts_is_counted_for_each_span() {
        let (mut table, mut names) = (ShapeTable::with_room_for(3), Interner::new());
        let mut spans = PackedSpans::default();
        for signature in ["a", "b", "c", "a", "a"] {
            table.place(signature.as_bytes(), &mut names, &mut spans, |names| {
                names.name(b"caf\xe9");
                Shape::default()
            });
        }
        assert_eq!(names.take_counts().mended, 5);
    }

    #[test]
    fn scopes_are_told_apart_however_many_there_are() {
        let (mut scopes, mut names) = (ScopeTable::default(), Interner::new());
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..2 * MAX_SCOPES {
            let name = format!("scope {number}");
            let scope = scopes.scope(&mut names, name.as_bytes());
            assert!(scope.number > 0 && seen.insert(scope.number));
            assert_eq!(
                scopes.scope(&mut names, name.as_bytes()).number,
                scope.number
            );
            assert!(scopes.numbers.len() <= MAX_SCOPES);
        }
        assert_eq!(scopes.scope(&mut names, b"").number, 0);
    }
}
