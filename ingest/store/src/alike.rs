//! How are ten million spans read for analysis, which wants to know little of each?
//!
//! What spans say repeats: the same operation of the same process with the same attributes comes a million times. So
//! the columns that say it are looked at once per distinct combination, and whoever reads is asked what that one
//! means; every other span with it is its ids, its times, and that answer again. Values of a dictionary are told
//! apart by where they lie in memory, so that their bytes are compared once per row group and not once per row.

use std::hash::Hash;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use rekindle_model::{SpanId, TraceId, UnixNanos};

use crate::read::{Cursor, ROWS_AT_ONCE, SpanReader, Wanted, guarded};
use crate::schema::at;
use crate::{ReadCounts, StoreError, StoredSpan};

/// The columns that say what a span means. The service's name is among the resource's attributes.
const MEANING: [usize; 12] = [
    at::NAME,
    at::KIND,
    at::STATUS,
    at::STATUS_MESSAGE,
    at::ATTRIBUTES,
    at::EVENTS,
    at::LINKS,
    at::RESOURCE,
    at::SCOPE_NAME,
    at::SCOPE_VERSION,
    at::SCOPE_ATTRIBUTES,
    at::TRACE_STATE,
];
/// The columns of each span's own, and the flags, which are a part of what it means.
const OWN: [usize; 6] = [
    at::TRACE_ID,
    at::SPAN_ID,
    at::PARENT_ID,
    at::START,
    at::END,
    at::FLAGS,
];

/// Texts and combinations that are remembered. Where each span says something of its own, remembering more only costs
/// memory.
const REMEMBERED: usize = 1 << 17;

/// When traces began is asked of so many row groups at least, of a file that has twice as many: of two million spans,
/// the middle of whose beginnings is off by a thousandth of them.
const GROUPS_ASKED: usize = 32;

/// A span, of which this is known.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanOf<T> {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its id in the trace.
    pub span_id: SpanId,
    /// The span that caused it.
    pub parent_id: Option<SpanId>,
    /// When it began, as it was sent.
    pub start: UnixNanos,
    /// When it ended, as it was sent.
    pub end: UnixNanos,
    /// What it means.
    pub meaning: T,
}

/// What combinations mean, over all files that are read one after the other.
#[derive(Debug)]
pub struct Meanings<T> {
    /// The numbers of texts; 0 is that there is none. All columns share them.
    texts: HashMap<Vec<u8>, u32>,
    /// Numbers that were given, those that are forgotten included.
    given: u32,
    known: HashMap<[u32; MEANING.len() + 1], T>,
}

impl<T> Default for Meanings<T> {
    fn default() -> Self {
        Self {
            texts: HashMap::new(),
            given: 0,
            known: HashMap::new(),
        }
    }
}

impl<T> Meanings<T> {
    fn number(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        remember_few(&mut self.texts);
        self.given = self.given.wrapping_add(1).max(1);
        self.texts.insert(text.to_vec(), self.given);
        self.given
    }
}

fn remember_few<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.len() >= REMEMBERED {
        map.clear();
    }
}

/// Values of a column in one row group, by where they lie, with their numbers. They are kept, so that nothing else can
/// lie there meanwhile.
#[derive(Default)]
struct Seen {
    numbers: HashMap<(usize, usize), (ByteArray, u32)>,
    /// The one of the row before, which is often that of the next.
    last: ((usize, usize), u32),
}

/// Reads one file, some rows at a time, in its order.
pub struct AlikeReader {
    reader: SpanReader,
    path: String,
    group: usize,
    cursor: Option<Cursor>,
    seen: [Seen; MEANING.len()],
    /// Numbers of the texts of some rows, column by column.
    numbers: [Vec<u32>; MEANING.len()],
}

impl AlikeReader {
    pub(crate) fn new(reader: SpanReader, path: String) -> Self {
        Self {
            reader,
            path,
            group: 0,
            cursor: None,
            seen: Default::default(),
            numbers: Default::default(),
        }
    }

    /// Hands out when each trace of the file began, and for how many it stands; of a large file, of some of its row groups,
    /// evenly chosen, each for those around it. Traces lie in the order of their ids, so these began whenever the others
    /// did.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn begins(&self, each: impl FnMut(UnixNanos, u64)) -> std::result::Result<(), StoreError> {
        let read = guarded(|| self.read_begins(each));
        read.map_err(StoreError::parquet("reading", self.path.as_str()))
    }

    fn read_begins(&self, mut each: impl FnMut(UnixNanos, u64)) -> Result<()> {
        let mut trace: Option<(ByteArray, u64, u64)> = None;
        for (number, stands_for) in groups_asked(self.reader.groups()) {
            let wanted = Wanted::These(&[&[at::TRACE_ID, at::START]]);
            let mut cursor = self.reader.cursor(number, None, wanted)?;
            loop {
                let rows = cursor.fill(ROWS_AT_ONCE)?;
                if rows == 0 {
                    break;
                }
                for row in 0..rows {
                    let Some(id) = cursor.bytes(at::TRACE_ID, row) else {
                        continue;
                    };
                    let start = cursor.long(at::START, row);
                    match &mut trace {
                        Some((known, first, _)) if known.data() == id.data() => {
                            *first = start.min(*first);
                        }
                        _ => {
                            if let Some((_, first, of)) =
                                trace.replace((id.clone(), start, stands_for))
                            {
                                each(UnixNanos(first), of);
                            }
                        }
                    }
                }
            }
        }
        if let Some((_, first, of)) = trace {
            each(UnixNanos(first), of);
        }
        Ok(())
    }

    /// Hands the next spans to `each`; `false` at the end. Of what wasn't seen yet, `meaning` is asked; its ids and
    /// times are of no concern there.
    ///
    /// # Errors
    /// When the file can't be read, or what `meaning` answers.
    pub fn next<T, E: From<StoreError>>(
        &mut self,
        meanings: &mut Meanings<T>,
        counts: &mut ReadCounts,
        mut meaning: impl FnMut(StoredSpan) -> std::result::Result<T, E>,
        mut each: impl FnMut(SpanOf<&T>),
    ) -> std::result::Result<bool, E> {
        remember_few(&mut meanings.known);
        let read = guarded(|| self.rows(meanings));
        let rows = read.map_err(StoreError::parquet("reading", self.path.as_str()))?;
        let Some(cursor) = &mut self.cursor else {
            return Ok(false);
        };
        let mut key = [0; MEANING.len() + 1];
        for row in 0..rows {
            for (key, numbers) in key.iter_mut().zip(&self.numbers) {
                *key = numbers[row];
            }
            key[MEANING.len()] = cursor.small(at::FLAGS, row);
            let Some((trace_id, span_id, parent_id)) = cursor.ids(row) else {
                counts.rejected += 1;
                continue;
            };
            let meaning = match meanings.known.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let Some(span) = cursor.span(row, counts) else {
                        counts.rejected += 1;
                        continue;
                    };
                    place.insert(meaning(span)?)
                }
            };
            each(SpanOf {
                trace_id,
                span_id,
                parent_id,
                start: UnixNanos(cursor.long(at::START, row)),
                end: UnixNanos(cursor.long(at::END, row)),
                meaning,
            });
        }
        Ok(true)
    }

    /// Reads the columns of the next rows; none at the end.
    fn rows<T>(&mut self, meanings: &mut Meanings<T>) -> Result<usize> {
        loop {
            if let Some(cursor) = &mut self.cursor {
                let rows = cursor.fill(ROWS_AT_ONCE)?;
                if rows > 0 {
                    let places = MEANING.iter().zip(&mut self.seen).zip(&mut self.numbers);
                    for ((index, seen), numbers) in places {
                        numbers.clear();
                        if !cursor.says(*index) {
                            numbers.resize(rows, 0);
                            continue;
                        }
                        numbers.extend((0..rows).map(|row| {
                            let text = cursor.bytes(*index, row);
                            text.map_or(0, |text| number_of(text, seen, meanings))
                        }));
                    }
                    return Ok(rows);
                }
                self.cursor = None;
                self.group += 1;
            }
            if self.group >= self.reader.groups() {
                return Ok(0);
            }
            self.seen = Default::default();
            let wanted = Wanted::These(&[&OWN, &MEANING]);
            self.cursor = Some(self.reader.cursor(self.group, None, wanted)?);
        }
    }
}

/// Which of so many row groups are asked when traces began, and for how many each stands: the middle ones of stretches
/// that are as long as one another.
fn groups_asked(groups: usize) -> impl Iterator<Item = (usize, u64)> {
    let every = (groups / GROUPS_ASKED).max(1);
    (0..groups).step_by(every).map(move |first| {
        let together = every.min(groups - first);
        (first + together / 2, together as u64)
    })
}

fn number_of<T>(text: &ByteArray, seen: &mut Seen, meanings: &mut Meanings<T>) -> u32 {
    let bytes = text.data();
    let place = (bytes.as_ptr().addr(), bytes.len());
    if seen.last.0 == place {
        return seen.last.1;
    }
    let number = match seen.numbers.get(&place) {
        Some((_, number)) => *number,
        None => {
            let number = meanings.number(bytes);
            seen.numbers.insert(place, (text.clone(), number));
            number
        }
    };
    seen.last = (place, number);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_asked_stand_for_all() {
        for groups in [0, 1, 5, 63, 64, 65, 100, 1_000] {
            let asked: Vec<(usize, u64)> = groups_asked(groups).collect();
            let sum: u64 = asked.iter().map(|(_, stands_for)| stands_for).sum();
            assert_eq!(sum, groups as u64, "{asked:?}");
            assert!(asked.iter().all(|(number, _)| *number < groups));
            assert!(asked.len() >= groups.min(GROUPS_ASKED));
            assert!(asked.len() < 2 * GROUPS_ASKED, "{}", asked.len());
        }
        // The first one is no more typical than the last.
        assert_eq!(groups_asked(320).next(), Some((5, 10)));
    }
}
