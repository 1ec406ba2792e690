//! Was a span sent before that is the same in all bytes that count?
//!
//! Spans of one operation come from one piece of code, which writes the same fields in the same order each time. So
//! what a span says need not be gathered, hashed and looked up again: its bytes are held against those of spans
//! before it. Ids and times are read as they pass; an attribute whose key means nothing is compared up to its value.
//! Where the end is reached together, the shape is known. Whatever isn't as it was is left to the walk that reads
//! every span ([`super::protobuf`]), which stays the only one that knows what bytes mean: here nothing is learned but
//! what it found.
//!
//! All known spans of one process and scope are a tree, kept in two lists: steps that follow each other in a span follow
//! each other in the list, so that comparing a span reads memory from one end to the other; and a step names another
//! one that may stand in its place. Where there are many, a table finds the right one.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::builder::RawSpan;
use super::intern::TextCounts;
use super::keys::KeyTable;
use super::protobuf::{EXCEPTION, enumeration, event_name, field};
use super::shapes::Kept;
use super::wire::Reader;
use crate::packed::PackedSpans;

/// Steps that are remembered, of 24 bytes each: a span has a dozen, of which another one of its operation repeats the
/// first half.
const MAX_STEPS: usize = 1 << 18;

/// Bytes that are remembered: as much memory as the steps take.
const MAX_BYTES: usize = 6 << 20;

/// Steps in one place that are tried one after the other. Most differ in a comparison of two numbers, which so
/// often costs what a table does.
const TRIED: usize = 12;

/// Steps in one place at most, beside those in the table. What isn't the same bytes each time has to be tried.
const MOST_TRIED: usize = 2 * TRIED;

/// Fields that are the same bytes each time are compared together, up to so many bytes: beyond, a comparison costs more
/// than the step that it saves, and each of several steps in one place would repeat much of the others.
const TOGETHER: usize = 256;

/// A span of more bytes isn't remembered: it has attributes of some length, which are hardly the same twice.
const MAX_SPAN_BYTES: usize = 16 << 10;

/// Spans that were found and pay for one that is added, as for new shapes: a stream in which every span has attributes
/// of its own costs little, and seldom pushes out what others have.
const NEW_COSTS: usize = 8;

/// What can be saved for new ones; the beginning is paid for in advance.
const MAX_CREDIT: usize = NEW_COSTS << 15;

/// No step.
const NONE: u32 = u32::MAX;

/// What a span must have in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Fields of these bytes.
    Same,
    /// An attribute of this key. It means nothing, or not on a span of this kind.
    AnyOf,
    /// An attribute of this key, which has this number and is a path that is no known route.
    PathOf(u16),
    /// An attribute of this key, which has this number and is a URL: of this length up to its path, which is at the end
    /// of the bytes. What follows may be anything.
    ServerOf(u16, u16),
    /// Start and end, whenever that was.
    Times,
    /// Flags, whatever they are.
    Flags,
    /// An event that says nothing.
    Event,
    /// Nothing more.
    End,
}

/// What is compared at once.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The last of its bytes, which tell most apart.
    tail: u64,
    /// Where its bytes begin; of an end, the place of the shape.
    from: u32,
    /// Another step that may be in this place.
    or: u32,
    len: u16,
    what: What,
}

/// A shape, and where it is in the request being read.
#[derive(Debug)]
struct Known {
    kept: Arc<Kept>,
    /// What was done to its texts, and its place in the list of this request: here, so that each span needn't look there.
    texts: TextCounts,
    request: u64,
    place: u32,
}

/// Where the spans of one process and scope begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root(u32);

impl Root {
    /// Nothing was read before.
    pub(crate) const NOTHING: Self = Self(NONE);
}

/// Spans that were read before.
pub(crate) struct Seen {
    /// The first step, by the numbers of process and scope.
    roots: HashMap<(u64, u64), u32>,
    steps: Vec<Step>,
    bytes: Vec<u8>,
    known: Vec<Known>,
    /// Steps beyond [`TRIED`] in one place, each of one field, behind the first one there.
    others: HashTable<(u32, u32)>,
    hasher: DefaultHashBuilder,
    credit: usize,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            roots: HashMap::new(),
            steps: Vec::new(),
            bytes: Vec::new(),
            known: Vec::new(),
            others: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            credit: MAX_CREDIT,
        }
    }

    /// Forgets all: when shapes that don't come any more are to be forgotten, those that do are found anew.
    pub(crate) fn clear(&mut self) {
        self.roots.clear();
        self.steps.clear();
        self.bytes.clear();
        self.known.clear();
        self.others.clear();
    }

    /// How many spans are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Where the spans of this process and scope begin, good until something is added.
    pub(crate) fn root(&self, numbers: (u64, u64)) -> Root {
        Root(self.roots.get(&numbers).copied().unwrap_or(NONE))
    }

    /// Holds a span against those that were read before. If it is as one of them, the place of the shape here; its ids,
    /// times and flags are put into `raw`, where some may be found in any case.
    #[inline]
    pub(crate) fn find<'a>(
        &self,
        Root(root): Root,
        span: &'a [u8],
        keys: &KeyTable,
        raw: &mut RawSpan<'a>,
    ) -> Option<u32> {
        self.follow(root, span, keys, raw).ok()
    }

    /// The place of the shape of a span; or the first step in the place where it is as none before it, and what it has
    /// from there on.
    #[inline]
    fn follow<'a>(
        &self,
        root: u32,
        span: &'a [u8],
        keys: &KeyTable,
        raw: &mut RawSpan<'a>,
    ) -> Result<u32, (u32, &'a [u8])> {
        let mut rest = take_ids(span, raw);
        let mut first = root;
        loop {
            let (mut at, mut tried) = (first, 0);
            rest = loop {
                let Some(step) = self.steps.get(at as usize) else {
                    let other = (tried >= TRIED).then(|| self.find_other(first, rest));
                    match other.flatten() {
                        Some((other, behind)) => {
                            at = other;
                            break behind;
                        }
                        None => return Err((first, rest)),
                    }
                };
                // The most frequent ones first, and not by a table: where the next jump goes is better guessed so.
                let behind = if step.what == What::Same {
                    self.behind_same(step, rest)
                } else if step.what == What::AnyOf {
                    value_of(self.bytes_of(step), rest).map(|(_, behind)| behind)
                } else if step.what == What::Times {
                    take_times(rest, raw)
                } else if step.what == What::End {
                    if rest.is_empty() {
                        return Ok(step.from);
                    }
                    None
                } else {
                    self.behind_rare(step, rest, keys, raw)
                };
                if let Some(behind) = behind {
                    break behind;
                }
                at = step.or;
                tried += 1;
            };
            first = at + 1;
        }
    }

    #[inline(always)]
    fn behind_same<'a>(&self, step: &Step, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (here, behind) = rest.split_at_checked(usize::from(step.len))?;
        (tail_of(here) == step.tail && are_same(here, self.bytes_of(step))).then_some(behind)
    }

    fn behind_rare<'a>(
        &self,
        step: &Step,
        rest: &'a [u8],
        keys: &KeyTable,
        raw: &mut RawSpan<'a>,
    ) -> Option<&'a [u8]> {
        match step.what {
            What::PathOf(number) => {
                let (value, behind) = value_of(self.bytes_of(step), rest)?;
                let path = only(TEXT, value)?;
                keys.telling(number, path).is_none().then_some(behind)
            }
            What::ServerOf(number, length) => {
                let bytes = self.bytes_of(step);
                let (_, server) = bytes.split_at_checked(bytes.len() - usize::from(length))?;
                let (value, behind) = value_of(key_of(bytes)?, rest)?;
                let url = only(TEXT, value)?;
                (keys.telling(number, url) == Some(server)).then_some(behind)
            }
            What::Flags => take_flags(rest, raw),
            What::Event => behind_event(rest),
            What::Same | What::AnyOf | What::Times | What::End => None,
        }
    }

    /// The step beyond those that are tried in this place that the next field is, and what comes behind it.
    fn find_other<'a>(&self, first: u32, rest: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let (field, behind) = split_field(rest)?;
        let is_it = |(of, step): &(u32, u32)| {
            *of == first && *self.bytes_of(&self.steps[*step as usize]) == *field
        };
        let hash = self.hasher.hash_one((first, field));
        let (_, other) = self.others.find(hash, is_it)?;
        Some((*other, behind))
    }

    #[inline]
    fn bytes_of(&self, step: &Step) -> &[u8] {
        &self.bytes[step.from as usize..][..usize::from(step.len)]
    }

    /// The place in `spans` of a shape that was found; `request` is the number of theirs. And what was done
    /// to its texts.
    #[inline]
    pub(crate) fn place(
        &mut self,
        known: u32,
        request: u64,
        spans: &mut PackedSpans,
    ) -> (u32, TextCounts) {
        self.credit = (self.credit + 1).min(MAX_CREDIT);
        let known = &mut self.known[known as usize];
        if known.request != request {
            known.request = request;
            known.place = known.kept.place(spans);
        }
        (known.place, known.texts)
    }

    /// Remembers a span of this process and scope that was read, and has this shape.
    #[cold]
    pub(crate) fn add(
        &mut self,
        numbers: (u64, u64),
        span: &[u8],
        keys: &KeyTable,
        shape: &Arc<Kept>,
    ) {
        // Its shape came before. If nothing else paid, nothing would be learned again once all was forgotten.
        self.credit = (self.credit + 1).min(MAX_CREDIT);
        if self.credit < NEW_COSTS || span.len() > MAX_SPAN_BYTES {
            return;
        }
        let is_full = self.steps.len() >= MAX_STEPS || self.bytes.len() >= MAX_BYTES;
        let Root(root) = match is_full {
            true => Root::NOTHING,
            false => self.root(numbers),
        };
        let (first, mut rest) = match self.follow(root, span, keys, &mut RawSpan::default()) {
            Ok(_) => return,
            Err(left) => left,
        };
        let crowded = first != NONE && self.in_place(first).1 >= TRIED;
        let mut kind = kind_before(span, rest);
        // All of them before the first is added: a step that others follow must be followed by its own.
        let mut steps = Vec::new();
        while !rest.is_empty() {
            // One field alone where a table finds it by one.
            let most = match crowded && steps.is_empty() {
                true => 0,
                false => TOGETHER,
            };
            let Some((what, bytes, behind)) = next_step(rest, most, keys, &mut kind) else {
                return;
            };
            steps.push((what, bytes));
            rest = behind;
        }
        steps.push((What::End, &[]));
        if is_full {
            self.clear();
        }
        if !self.put(numbers, first, steps[0]) {
            return;
        }
        self.credit -= NEW_COSTS;
        for (what, bytes) in steps {
            self.steps.push(Step {
                tail: tail_of(bytes),
                from: match what {
                    What::End => self.known.len() as u32,
                    _ => self.bytes.len() as u32,
                },
                or: NONE,
                // A span that is remembered has no more.
                len: bytes.len() as u16,
                what,
            });
            self.bytes.extend_from_slice(bytes);
        }
        self.known.push(Known {
            kept: Arc::clone(shape),
            texts: shape.texts,
            request: 0,
            place: 0,
        });
    }

    /// The last one of the steps in this place that are tried, and how many these are.
    fn in_place(&self, first: u32) -> (u32, usize) {
        let (mut last, mut tried) = (first, 1);
        while self.steps[last as usize].or != NONE {
            last = self.steps[last as usize].or;
            tried += 1;
        }
        (last, tried)
    }

    /// Lets the step that is added next stand in the place that begins with this one, or begin what is of these numbers;
    /// `false` where there is no room for it.
    fn put(&mut self, numbers: (u64, u64), first: u32, (what, bytes): (What, &[u8])) -> bool {
        let step = self.steps.len() as u32;
        if first == NONE {
            self.roots.insert(numbers, step);
            return true;
        }
        let (last, tried) = self.in_place(first);
        if tried < TRIED || (what != What::Same && tried < MOST_TRIED) {
            self.steps[last as usize].or = step;
        } else if what == What::Same {
            self.add_other(first, step, bytes);
        } else {
            return false;
        }
        true
    }

    fn add_other(&mut self, first: u32, step: u32, field: &[u8]) {
        let (hasher, steps, bytes) = (&self.hasher, &self.steps, &self.bytes);
        let hash = |(first, step): &(u32, u32)| {
            let step = &steps[*step as usize];
            let field = &bytes[step.from as usize..][..usize::from(step.len)];
            hasher.hash_one((*first, field))
        };
        self.others
            .insert_unique(hasher.hash_one((first, field)), (first, step), hash);
    }
}

/// The next step of a span that has this left, its bytes, and what is behind it; none if it has something that isn't
/// compared. Fields that are the same each time are one step up to so many bytes.
fn next_step<'a>(
    rest: &'a [u8],
    most: usize,
    keys: &KeyTable,
    kind: &mut u64,
) -> Option<(What, &'a [u8], &'a [u8])> {
    let mut raw = RawSpan::default();
    if let Some(behind) = take_times(rest, &mut raw) {
        return Some((What::Times, &[], behind));
    }
    if let Some(behind) = take_flags(rest, &mut raw) {
        return Some((What::Flags, &[], behind));
    }
    if let Some(behind) = behind_event(rest) {
        return Some((What::Event, &[], behind));
    }
    let (what, bytes, mut behind) = next_field(rest, keys, kind)?;
    if what != What::Same {
        return Some((what, bytes, behind));
    }
    while let Some((What::Same, _, further)) = next_field(behind, keys, kind) {
        if rest.len() - further.len() > most {
            break;
        }
        behind = further;
    }
    Some((What::Same, &rest[..rest.len() - behind.len()], behind))
}

/// The kind that a span says in front of what is left of it.
fn kind_before(span: &[u8], rest: &[u8]) -> u64 {
    let (mut kind, mut at) = (0, span);
    while at.len() > rest.len()
        && let Some((field, behind)) = split_field(at)
    {
        kind = kind_of(field).unwrap_or(kind);
        at = behind;
    }
    kind
}

/// The kind, if this field is it.
fn kind_of(field: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(field);
    let is_it = reader.tag().ok()? == Some(field::KIND);
    is_it
        .then(|| reader.varint().ok().map(enumeration))
        .flatten()
}

/// How the next field is compared, by which bytes, and what is behind it. `kind` is what was said of the kind before.
fn next_field<'a>(
    rest: &'a [u8],
    keys: &KeyTable,
    kind: &mut u64,
) -> Option<(What, &'a [u8], &'a [u8])> {
    use field::{
        ATTRIBUTES, DROPPED_ATTRIBUTES, DROPPED_EVENTS, DROPPED_LINKS, KIND, NAME, STATUS,
    };
    let (field, behind) = split_field(rest)?;
    match Reader::new(field).tag() {
        Ok(Some(ATTRIBUTES)) => {
            let (what, bytes) = what_is(field, keys, *kind);
            Some((what, bytes, behind))
        }
        Ok(Some(
            tag @ (NAME | KIND | STATUS | DROPPED_ATTRIBUTES | DROPPED_EVENTS | DROPPED_LINKS),
        )) => {
            if tag == KIND {
                *kind = kind_of(field)?;
            }
            Some((What::Same, field, behind))
        }
        _ => None,
    }
}

/// How an attribute is compared, and by which bytes.
fn what_is<'a>(attribute: &'a [u8], keys: &KeyTable, kind: u64) -> (What, &'a [u8]) {
    let same = (What::Same, attribute);
    let Some((body @ [KEY, length, rest @ ..], [])) = split_attribute(attribute) else {
        return same;
    };
    let length = usize::from(*length);
    let Some((key, value)) = rest.split_at_checked(length).filter(|_| length < 0x80) else {
        return same;
    };
    let Some(value) = only(VALUE, value) else {
        return same;
    };
    let up_to_value = &body[..2 + length];
    let number = match keys.find(key) {
        Some(number) if !keys.is_silent(number, kind) => number,
        _ => return (What::AnyOf, up_to_value),
    };
    let Some(text) = only(TEXT, value) else {
        return same;
    };
    match keys.telling(number, text) {
        None => (What::PathOf(number), up_to_value),
        Some(told) if told.len() < text.len() => {
            let behind = text.len() - told.len();
            // The attribute's length fits in two bytes of seven bits.
            let what = What::ServerOf(number, told.len() as u16);
            (what, &body[..body.len() - behind])
        }
        Some(_) => same,
    }
}

/// The key, with its tag and length, that these bytes of an attribute begin with.
fn key_of(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..2 + usize::from(*bytes.get(1)?))
}

/// Takes the ids of a span that begins with them, as nearly all do; what is behind.
#[inline(always)]
fn take_ids<'a>(span: &'a [u8], raw: &mut RawSpan<'a>) -> &'a [u8] {
    let mut reader = Reader::new(span);
    raw.trace_id = reader.short(field::TRACE_ID).unwrap_or_default();
    raw.span_id = reader.short(field::SPAN_ID).unwrap_or_default();
    raw.parent_id = reader.short(field::PARENT_SPAN_ID).unwrap_or_default();
    reader.rest()
}

/// Takes start and end where they come one after the other; what is behind.
#[inline(always)]
fn take_times<'a>(rest: &'a [u8], raw: &mut RawSpan<'a>) -> Option<&'a [u8]> {
    const START: u8 = field::START as u8;
    const END: u8 = field::END as u8;
    let ([START, start @ .., END], rest) = rest.split_first_chunk::<10>()? else {
        return None;
    };
    let (end, behind) = rest.split_first_chunk()?;
    raw.start = u64::from_le_bytes(*start);
    raw.end = u64::from_le_bytes(*end);
    Some(behind)
}

/// Takes the flags; what is behind.
fn take_flags<'a>(rest: &'a [u8], raw: &mut RawSpan<'a>) -> Option<&'a [u8]> {
    let mut reader = Reader::new(rest);
    let Ok(Some(field::FLAGS)) = reader.tag() else {
        return None;
    };
    raw.flags = reader.fixed32().ok()?;
    Some(reader.rest())
}

/// What is behind an event that isn't an exception.
fn behind_event(rest: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(rest);
    let Ok(Some(field::EVENTS)) = reader.tag() else {
        return None;
    };
    let name = event_name(reader.bytes().ok()?).ok()?;
    (name != EXCEPTION).then(|| reader.rest())
}

/// The next field, with its tag, and what is behind it.
fn split_field(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(rest);
    let tag = reader.tag().ok()??;
    reader.skip(tag).ok()?;
    rest.split_at_checked(rest.len() - reader.rest().len())
}

/// What begins with a length of one or two bytes, and what is behind that. More is hardly the same twice.
#[inline(always)]
fn split_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [length, rest @ ..] if *length < 0x80 => rest.split_at_checked(usize::from(*length)),
        [low, high, rest @ ..] if *high < 0x80 => {
            rest.split_at_checked(usize::from(*low & 0x7f) | usize::from(*high) << 7)
        }
        _ => None,
    }
}

/// The tag of an attribute's key, of its value, and of a value that is a text.
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;
const TEXT: u8 = 0x0a;

/// The content of a field of this tag that is all there is.
#[inline(always)]
fn only(tag: u8, message: &[u8]) -> Option<&[u8]> {
    let (found, behind) = message.split_first()?;
    match split_length(behind)? {
        (content, []) if *found == tag => Some(content),
        _ => None,
    }
}

/// The content of the attribute that is next, and what is behind it.
#[inline(always)]
fn split_attribute(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    match rest.split_first()? {
        (tag, behind) if u64::from(*tag) == field::ATTRIBUTES => split_length(behind),
        _ => None,
    }
}

/// The value of the attribute that is next, if it begins with this key and has nothing else, and what is behind it.
#[inline(always)]
fn value_of<'a>(key: &[u8], rest: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (attribute, behind) = split_attribute(rest)?;
    Some((only(VALUE, attribute.strip_prefix(key)?)?, behind))
}

/// Whether these are the same bytes. Some dozens of them are compared several times for each span, for which a call of the
/// library's comparison would cost as much as the comparison.
#[inline(always)]
fn are_same(one: &[u8], other: &[u8]) -> bool {
    let (Some(last), Some(other_last)) = (one.last_chunk::<16>(), other.last_chunk()) else {
        return *one == *other;
    };
    let (chunks, other_chunks) = (one.as_chunks::<16>().0, other.as_chunks::<16>().0);
    let mut both = chunks.iter().zip(other_chunks);
    one.len() == other.len() && last == other_last && both.all(|(one, other)| one == other)
}

/// The last eight bytes; of fewer, all of them.
#[inline(always)]
fn tail_of(bytes: &[u8]) -> u64 {
    match bytes.last_chunk() {
        Some(tail) => u64::from_le_bytes(*tail),
        None => bytes
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte)),
    }
}
