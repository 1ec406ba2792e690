//! How is a file of the store read, all of it or one trace?
//!
//! One trace: the row groups whose range holds its id, of those the ones whose bloom filter doesn't exclude it, of
//! those the pages whose range holds it; then, of each column, only the pages with its rows. All of it: row group by
//! row group, some rows at a time, so that memory holds a page per column.
//!
//! Columns are found by name, so a file with columns added, or in another order, is read as well. Anybody may have
//! written the file: what isn't as it should be is an error or a counted row, never a panic.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::bloom_filter::Sbbf;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::index_reader::{decode_column_index, decode_offset_index};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use rekindle_model::{SpanId, TraceId, UnixNanos};

use crate::pages::CheckedPages;
use crate::schema::{COLUMNS, Kind, at};
use crate::source::Source;
use crate::span::{StoredResource, StoredScope};
use crate::write::{KINDS, STATUSES, number_of};
use crate::{ReadCounts, StoredSpan, Text};

/// Rows that are put together at a time.
pub(crate) const ROWS_AT_ONCE: usize = 1024;

/// Resources and scopes that are remembered while reading, so that spans share them; more are rare, and only cost
/// memory.
const REMEMBERED: usize = 4096;

/// A file of the store, open.
#[derive(Debug)]
pub(crate) struct SpanReader {
    source: Arc<Source>,
    metadata: Arc<ParquetMetaData>,
    /// Where each of our columns is in the file.
    columns: [Option<usize>; COLUMNS.len()],
}

/// The footer of a file.
pub(crate) fn footer(source: &Source) -> Result<Arc<ParquetMetaData>> {
    guarded(|| {
        ParquetMetaDataReader::new()
            .parse_and_finish(source)
            .map(Arc::new)
    })
}

/// The `parquet` crate panics at some damages (a negative length in a footer, say). Nobody's damaged file may end the
/// daemon, so that is an error like any other. What was being read isn't used any more.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(wrong("it is damaged: reading it panicked")))
}

impl SpanReader {
    /// Opens a file whose footer is known.
    pub(crate) fn new(source: Source, metadata: Arc<ParquetMetaData>) -> Result<Self> {
        guarded(|| Self::checked(source, metadata))
    }

    fn checked(source: Source, metadata: Arc<ParquetMetaData>) -> Result<Self> {
        let schema = metadata.file_metadata().schema_descr();
        let mut columns = [None; COLUMNS.len()];
        for (number, column) in schema.columns().iter().enumerate() {
            let known = COLUMNS.iter().position(|it| it.name == column.name());
            let Some(index) = known else { continue };
            use parquet::basic::Type;
            let expected = match COLUMNS[index].kind {
                Kind::Names | Kind::Text => Type::BYTE_ARRAY,
                Kind::Small => Type::INT32,
                Kind::Long | Kind::Time => Type::INT64,
            };
            if column.max_rep_level() > 0
                || column.max_def_level() > 1
                || column.physical_type() != expected
            {
                return Err(wrong(&format!(
                    "the column `{}` has another type",
                    column.name()
                )));
            }
            columns[index] = Some(number);
        }
        for needed in [at::TRACE_ID, at::SPAN_ID, at::START, at::END] {
            if columns[needed].is_none() {
                return Err(wrong(&format!(
                    "the column `{}` is missing",
                    COLUMNS[needed].name
                )));
            }
        }
        Ok(Self {
            source: Arc::new(source),
            metadata,
            columns,
        })
    }

    pub(crate) fn open(source: Source) -> Result<Self> {
        let metadata = footer(&source)?;
        Self::new(source, metadata)
    }

    /// The names under this key of the file's metadata.
    pub(crate) fn note(&self, key: &str) -> Vec<String> {
        let pairs = self.metadata.file_metadata().key_value_metadata();
        let mut pairs = pairs.into_iter().flatten();
        let value = pairs
            .find(|it| it.key == key)
            .and_then(|it| it.value.as_deref());
        value.map_or_else(Vec::new, |it| it.split(',').map(str::to_owned).collect())
    }

    /// The spans of a trace, in the store's order; when there are more than `most`, that many and some.
    pub(crate) fn trace(
        &self,
        id: TraceId,
        most: usize,
        counts: &mut ReadCounts,
    ) -> Result<Vec<StoredSpan>> {
        guarded(|| self.find(id, most, counts))
    }

    fn find(&self, id: TraceId, most: usize, counts: &mut ReadCounts) -> Result<Vec<StoredSpan>> {
        let text = id.to_string();
        let mut found = Vec::new();
        for number in 0..self.metadata.num_row_groups() {
            let group = self.metadata.row_group(number);
            if self.may_hold(group, text.as_bytes())? {
                for (first, rows) in self.ranges(group, text.as_bytes())? {
                    let mut cursor = self.cursor(number, Some((first, rows)), Wanted::All)?;
                    while found.len() < most && cursor.read(ROWS_AT_ONCE, &mut found, counts)? > 0 {
                    }
                }
            }
        }
        found.retain(|span| span.trace_id == id);
        Ok(found)
    }

    /// Whether the row group isn't known not to hold the trace.
    fn may_hold(&self, group: &RowGroupMetaData, id: &[u8]) -> Result<bool> {
        let Some(column) = self.columns[at::TRACE_ID].map(|it| group.column(it)) else {
            return Ok(false);
        };
        if let Some(statistics) = column.statistics()
            && let (Some(least), Some(most)) =
                (statistics.min_bytes_opt(), statistics.max_bytes_opt())
            && (id < least || (id > most && statistics.max_is_exact()))
        {
            return Ok(false);
        }
        let filter = Sbbf::read_from_column_chunk(column, &*self.source)?;
        Ok(filter.is_none_or(|it| it.check(id)))
    }

    /// The rows of the pages that may hold the trace, first and number; neighbours together. Then those rows of the
    /// trace alone, found by reading its column.
    fn ranges(&self, group: &RowGroupMetaData, id: &[u8]) -> Result<Vec<(usize, usize)>> {
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        let Some(number) = self.columns[at::TRACE_ID] else {
            return Ok(Vec::new());
        };
        let column = group.column(number);
        let pages = self.page_locations(group, number)?;
        let index = match column.column_index_range() {
            Some(range) => Some(decode_column_index(
                &self.bytes(range)?,
                column.column_type(),
            )?),
            None => None,
        };
        let (mut first, mut last) = (0, rows);
        if let (Some(pages), Some(ColumnIndexMetaData::BYTE_ARRAY(index))) = (&pages, index) {
            let holds = |page: usize| {
                let least = index.min_value(page).is_none_or(|it| it <= id);
                least && index.max_value(page).is_none_or(|it| it >= id)
            };
            let begin = |page: &PageLocation| usize::try_from(page.first_row_index).unwrap_or(0);
            let of = usize::try_from(index.num_pages())
                .unwrap_or(0)
                .min(pages.len());
            let holding: Vec<usize> = (0..of).filter(|page| holds(*page)).collect();
            match (holding.first(), holding.last()) {
                (Some(one), Some(other)) => {
                    first = begin(&pages[*one]);
                    last = pages.get(other + 1).map_or(rows, begin);
                }
                _ => return Ok(Vec::new()),
            }
        }
        // Ids are sorted, but whoever else wrote the file may not have done so.
        let mut column = self.column(group, number, first)?;
        let mut ids = Texts::default();
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        let mut row = first;
        while row < last {
            let read = ids.read(&mut column, ROWS_AT_ONCE.min(last - row))?;
            if read == 0 {
                break;
            }
            for index in 0..read {
                if ids.get(index).is_some_and(|it| it.data() == id) {
                    match ranges.last_mut() {
                        Some((from, rows)) if *from + *rows == row + index => *rows += 1,
                        _ => ranges.push((row + index, 1)),
                    }
                }
            }
            row += read;
        }
        Ok(ranges)
    }

    fn bytes(&self, range: std::ops::Range<u64>) -> Result<bytes::Bytes> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or_default();
        self.source.get_bytes(range.start, length)
    }

    fn page_locations(
        &self,
        group: &RowGroupMetaData,
        number: usize,
    ) -> Result<Option<Vec<PageLocation>>> {
        match group.column(number).offset_index_range() {
            Some(range) => {
                let index = decode_offset_index(&self.bytes(range)?)?;
                Ok(Some(index.page_locations().clone()))
            }
            None => Ok(None),
        }
    }

    /// A column of a row group from this row on.
    fn column(
        &self,
        group: &RowGroupMetaData,
        number: usize,
        first: usize,
    ) -> Result<ColumnReader> {
        // Who reads all of it needs no locations, which cost a read each.
        let locations = match first {
            0 => None,
            _ => self.page_locations(group, number)?,
        };
        self.column_at(group, number, first, locations)
    }

    fn column_at(
        &self,
        group: &RowGroupMetaData,
        number: usize,
        first: usize,
        locations: Option<Vec<PageLocation>>,
    ) -> Result<ColumnReader> {
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        let descriptor = self.metadata.file_metadata().schema_descr().column(number);
        let pages = SerializedPageReader::new(
            Arc::clone(&self.source),
            group.column(number),
            rows,
            locations,
        )?;
        let mut reader = get_column_reader(descriptor, Box::new(CheckedPages(pages)));
        if first > 0 {
            match &mut reader {
                ColumnReader::ByteArrayColumnReader(it) => it.skip_records(first)?,
                ColumnReader::Int32ColumnReader(it) => it.skip_records(first)?,
                ColumnReader::Int64ColumnReader(it) => it.skip_records(first)?,
                _ => 0,
            };
        }
        Ok(reader)
    }

    pub(crate) fn cursor(
        &self,
        number: usize,
        range: Option<(usize, usize)>,
        wanted: Wanted,
    ) -> Result<Cursor> {
        let group = self.metadata.row_group(number);
        let all = usize::try_from(group.num_rows()).unwrap_or_default();
        let (first, rows) = range.unwrap_or((0, all));
        let mut columns = [const { None }; COLUMNS.len()];
        for (index, number) in self.columns.iter().enumerate() {
            if let Some(number) = number
                && wanted.holds(index)
            {
                // Of one trace only the pages with its rows.
                let locations = match range {
                    Some(_) => self.page_locations(group, *number)?,
                    None => None,
                };
                columns[index] = Some(self.column_at(group, *number, first, locations)?);
            }
        }
        Ok(Cursor {
            columns,
            left: rows,
            texts: Default::default(),
            numbers: Default::default(),
            resources: HashSet::new(),
            scopes: HashSet::new(),
        })
    }

    /// How many row groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// All spans of the file, in its order.
    pub(crate) fn spans(&self) -> Spans<'_> {
        Spans {
            reader: self,
            group: 0,
            cursor: None,
            wanted: Wanted::All,
        }
    }

    /// All spans of the file, in its order, of which nothing is read but what tells them from each other.
    pub(crate) fn identities(&self) -> Spans<'_> {
        Spans {
            wanted: Wanted::These(&[&IDENTITY]),
            ..self.spans()
        }
    }
}

/// What is read of spans; the rest stays empty.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    All,
    /// These columns.
    These(&'static [&'static [usize]]),
}

/// What tells spans from each other.
const IDENTITY: [usize; 5] = [at::TRACE_ID, at::SPAN_ID, at::KIND, at::START, at::END];

impl Wanted {
    fn holds(self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::These(columns) => columns.iter().any(|some| some.contains(&index)),
        }
    }
}

/// All spans of a file, some at a time.
pub(crate) struct Spans<'a> {
    reader: &'a SpanReader,
    group: usize,
    cursor: Option<Cursor>,
    wanted: Wanted,
}

impl Spans<'_> {
    /// Adds the next spans; `false` at the end.
    pub(crate) fn next(
        &mut self,
        into: &mut Vec<StoredSpan>,
        counts: &mut ReadCounts,
    ) -> Result<bool> {
        guarded(|| self.read(into, counts))
    }

    fn read(&mut self, into: &mut Vec<StoredSpan>, counts: &mut ReadCounts) -> Result<bool> {
        loop {
            if let Some(cursor) = &mut self.cursor {
                if cursor.read(ROWS_AT_ONCE, into, counts)? > 0 {
                    return Ok(true);
                }
                self.cursor = None;
                self.group += 1;
            }
            if self.group >= self.reader.metadata.num_row_groups() {
                return Ok(false);
            }
            let cursor = self.reader.cursor(self.group, None, self.wanted)?;
            self.cursor = Some(cursor);
        }
    }
}

/// Where reading is in a row group.
pub(crate) struct Cursor {
    columns: [Option<ColumnReader>; COLUMNS.len()],
    left: usize,
    texts: [Texts; COLUMNS.len()],
    numbers: [Vec<i64>; COLUMNS.len()],
    resources: HashSet<Arc<StoredResource>>,
    scopes: HashSet<Arc<StoredScope>>,
}

/// A stretch of a column of text.
#[derive(Default)]
struct Texts {
    values: Vec<ByteArray>,
    levels: Vec<i16>,
    /// Which value a row has, where only some have one.
    places: Vec<Option<usize>>,
}

impl Texts {
    fn read(&mut self, reader: &mut ColumnReader, rows: usize) -> Result<usize> {
        let ColumnReader::ByteArrayColumnReader(reader) = reader else {
            return Ok(0);
        };
        self.values.clear();
        self.levels.clear();
        self.places.clear();
        let (read, _, _) =
            reader.read_records(rows, Some(&mut self.levels), None, &mut self.values)?;
        // All or none are the rule, and then nothing need be looked up.
        if !self.values.is_empty() && self.values.len() < self.levels.len() {
            let mut value = 0;
            for level in &self.levels {
                self.places.push((*level > 0).then_some(value));
                value += usize::from(*level > 0);
            }
        }
        Ok(read)
    }

    fn get(&self, row: usize) -> Option<&ByteArray> {
        let place = match self.places.is_empty() {
            true => row,
            false => (*self.places.get(row)?)?,
        };
        self.values.get(place)
    }
}

impl Cursor {
    /// Adds up to this many spans; how many rows were read.
    fn read(
        &mut self,
        rows: usize,
        into: &mut Vec<StoredSpan>,
        counts: &mut ReadCounts,
    ) -> Result<usize> {
        let rows = self.fill(rows)?;
        for row in 0..rows {
            match self.span(row, counts) {
                Some(span) => into.push(span),
                None => counts.rejected += 1,
            }
        }
        Ok(rows)
    }

    /// Reads the columns of up to this many rows; how many there were.
    pub(crate) fn fill(&mut self, rows: usize) -> Result<usize> {
        let rows = rows.min(self.left);
        if rows == 0 {
            return Ok(0);
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            let Some(column) = column else { continue };
            let read = match COLUMNS[index].kind {
                Kind::Names | Kind::Text => self.texts[index].read(column, rows)?,
                Kind::Small | Kind::Long | Kind::Time => {
                    numbers(column, rows, &mut self.numbers[index])?
                }
            };
            if read != rows {
                return Err(wrong(&format!(
                    "the column `{}` ends before the others",
                    COLUMNS[index].name
                )));
            }
        }
        self.left -= rows;
        Ok(rows)
    }

    /// Whether a column of text has a value in any of the rows that were read.
    pub(crate) fn says(&self, index: usize) -> bool {
        !self.texts[index].values.is_empty()
    }

    pub(crate) fn bytes(&self, index: usize, row: usize) -> Option<&ByteArray> {
        self.texts[index].get(row)
    }

    fn text(&self, index: usize, row: usize, counts: &mut ReadCounts) -> Text {
        match self.texts[index].get(row) {
            Some(value) => {
                let bytes = value.data();
                if bytes.is_empty() {
                    return Text::default();
                }
                let (text, mended) = Text::mended(bytes::Bytes::copy_from_slice(bytes));
                counts.mended_text += u64::from(mended);
                text
            }
            None => Text::default(),
        }
    }

    fn word(&self, index: usize, row: usize) -> Option<&str> {
        std::str::from_utf8(self.texts[index].get(row)?.data()).ok()
    }

    pub(crate) fn long(&self, index: usize, row: usize) -> u64 {
        let value = self.numbers[index].get(row).copied();
        value.unwrap_or_default().cast_unsigned()
    }

    pub(crate) fn small(&self, index: usize, row: usize) -> u32 {
        // They were 32 bits wide; the sign was only lent.
        (self.long(index, row) & u64::from(u32::MAX)) as u32
    }

    /// The ids of a span, of its trace and of its parent; `None` where one is none.
    pub(crate) fn ids(&self, row: usize) -> Option<(TraceId, SpanId, Option<SpanId>)> {
        let digits = |index| self.bytes(index, row).map(ByteArray::data);
        let trace_id = TraceId::from_hex(digits(at::TRACE_ID)?)?;
        let span_id = SpanId::from_hex(digits(at::SPAN_ID)?)?;
        let parent_id = match digits(at::PARENT_ID) {
            None | Some([]) => None,
            Some(digits) => Some(SpanId::from_hex(digits)?),
        };
        Some((trace_id, span_id, parent_id))
    }

    /// The span of a row, as far as its columns were read.
    pub(crate) fn span(&mut self, row: usize, counts: &mut ReadCounts) -> Option<StoredSpan> {
        let (trace_id, span_id, parent_id) = self.ids(row)?;
        let resource = StoredResource {
            service: self.text(at::SERVICE, row, counts),
            attributes: self.text(at::RESOURCE, row, counts),
            dropped_attributes: self.small(at::RESOURCE_DROPPED, row),
            schema_url: self.text(at::RESOURCE_SCHEMA_URL, row, counts),
        };
        let mut scope = StoredScope {
            name: self.text(at::SCOPE_NAME, row, counts),
            version: self.text(at::SCOPE_VERSION, row, counts),
            attributes: self.text(at::SCOPE_ATTRIBUTES, row, counts),
            dropped_attributes: self.small(at::SCOPE_DROPPED, row),
            schema_url: self.text(at::SCOPE_SCHEMA_URL, row, counts),
        };
        if scope.attributes.is_empty() {
            scope.attributes = "{}".into();
        }
        let resource = shared(&mut self.resources, resource);
        let scope = shared(&mut self.scopes, scope);
        let word = |index, words: &[&str]| number_of(words, self.word(index, row).unwrap_or(""));
        Some(StoredSpan {
            trace_id,
            span_id,
            parent_id,
            trace_state: self.text(at::TRACE_STATE, row, counts),
            flags: self.small(at::FLAGS, row),
            name: self.text(at::NAME, row, counts),
            kind: word(at::KIND, &KINDS),
            start: UnixNanos(self.long(at::START, row)),
            end: UnixNanos(self.long(at::END, row)),
            attributes: self.text(at::ATTRIBUTES, row, counts),
            dropped_attributes: self.small(at::DROPPED_ATTRIBUTES, row),
            events: self.text(at::EVENTS, row, counts),
            dropped_events: self.small(at::DROPPED_EVENTS, row),
            links: self.text(at::LINKS, row, counts),
            dropped_links: self.small(at::DROPPED_LINKS, row),
            status: word(at::STATUS, &STATUSES),
            status_message: self.text(at::STATUS_MESSAGE, row, counts),
            resource,
            scope,
            received_at: UnixNanos(self.long(at::RECEIVED, row)),
            position: self.long(at::POSITION, row),
        })
    }
}

fn numbers(reader: &mut ColumnReader, rows: usize, into: &mut Vec<i64>) -> Result<usize> {
    into.clear();
    let mut levels = Vec::new();
    let (read, values, _) = match reader {
        ColumnReader::Int64ColumnReader(reader) => {
            reader.read_records(rows, Some(&mut levels), None, into)?
        }
        ColumnReader::Int32ColumnReader(reader) => {
            let mut small = Vec::with_capacity(rows);
            let read = reader.read_records(rows, Some(&mut levels), None, &mut small)?;
            into.extend(small.into_iter().map(i64::from));
            read
        }
        _ => return Ok(0),
    };
    match values == read {
        true => Ok(read),
        false => Err(wrong("a column of numbers has gaps")),
    }
}

fn shared<T: Eq + std::hash::Hash>(known: &mut HashSet<Arc<T>>, value: T) -> Arc<T> {
    if let Some(known) = known.get(&value) {
        return Arc::clone(known);
    }
    if known.len() >= REMEMBERED {
        known.clear();
    }
    let value = Arc::new(value);
    known.insert(Arc::clone(&value));
    value
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}
