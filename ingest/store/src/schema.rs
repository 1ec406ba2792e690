//! Which columns does a file of the store have? `SCHEMA.md` says the same for people.
//!
//! One table, in the order of the file: name, type, whether it may be empty, and how it is packed. Writing and reading
//! go by it. Ids are hexadecimal text because that is how people paste them; sorted and dictionary-encoded, they cost
//! no more than bytes.

use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion,
};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

/// The version of the schema, in each file's metadata. What adds columns raises it; readers skip what they don't know.
pub const SCHEMA_VERSION: &str = "1";

/// Its key in each file's metadata.
pub const SCHEMA_VERSION_KEY: &str = "rekindle.schema";

/// Rows of one row group: what a lookup decodes a page of, and a writer holds. With fewer, footers grow (a file of four
/// million spans has 64 groups); with more, bloom filters and dictionaries do.
pub(crate) const ROWS_PER_GROUP: usize = 64 << 10;

/// Rows of one page: the least that a lookup unpacks per column.
const ROWS_PER_PAGE: usize = 4 << 10;

/// Of the lookups in files that don't hold the trace, this share reads a page in vain. A filter of one per cent takes 10
/// bits per trace.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UTF-8 that repeats: kept once per row group, and numbered.
    Names,
    /// UTF-8 that is different in each row.
    Text,
    /// A number of 32 bits.
    Small,
    /// A number of 64 bits that is near that of the row before.
    Long,
    /// A point in time, in microseconds.
    Time,
}

/// A column.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) optional: bool,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        optional: false,
    }
}

const fn optional(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        optional: true,
    }
}

/// All columns in the order of the file. Their numbers are those of [`at`].
pub(crate) const COLUMNS: [Column; 29] = [
    column("trace_id", Kind::Names),
    column("span_id", Kind::Text),
    optional("parent_span_id", Kind::Names),
    column("name", Kind::Names),
    column("kind", Kind::Names),
    column("start_time", Kind::Time),
    column("start_unix_nanos", Kind::Long),
    column("end_unix_nanos", Kind::Long),
    optional("service_name", Kind::Names),
    column("status_code", Kind::Names),
    optional("status_message", Kind::Names),
    column("attributes", Kind::Names),
    optional("events", Kind::Text),
    optional("links", Kind::Text),
    column("resource", Kind::Names),
    optional("scope_name", Kind::Names),
    optional("scope_version", Kind::Names),
    optional("scope_attributes", Kind::Names),
    optional("trace_state", Kind::Names),
    column("flags", Kind::Small),
    optional("resource_schema_url", Kind::Names),
    optional("scope_schema_url", Kind::Names),
    column("dropped_attributes", Kind::Small),
    column("dropped_events", Kind::Small),
    column("dropped_links", Kind::Small),
    column("resource_dropped_attributes", Kind::Small),
    column("scope_dropped_attributes", Kind::Small),
    column("received_unix_nanos", Kind::Long),
    column("journal_position", Kind::Long),
];

/// Where the columns are.
pub(crate) mod at {
    pub(crate) const TRACE_ID: usize = 0;
    pub(crate) const SPAN_ID: usize = 1;
    pub(crate) const PARENT_ID: usize = 2;
    pub(crate) const NAME: usize = 3;
    pub(crate) const KIND: usize = 4;
    pub(crate) const START_TIME: usize = 5;
    pub(crate) const START: usize = 6;
    pub(crate) const END: usize = 7;
    pub(crate) const SERVICE: usize = 8;
    pub(crate) const STATUS: usize = 9;
    pub(crate) const STATUS_MESSAGE: usize = 10;
    pub(crate) const ATTRIBUTES: usize = 11;
    pub(crate) const EVENTS: usize = 12;
    pub(crate) const LINKS: usize = 13;
    pub(crate) const RESOURCE: usize = 14;
    pub(crate) const SCOPE_NAME: usize = 15;
    pub(crate) const SCOPE_VERSION: usize = 16;
    pub(crate) const SCOPE_ATTRIBUTES: usize = 17;
    pub(crate) const TRACE_STATE: usize = 18;
    pub(crate) const FLAGS: usize = 19;
    pub(crate) const RESOURCE_SCHEMA_URL: usize = 20;
    pub(crate) const SCOPE_SCHEMA_URL: usize = 21;
    pub(crate) const DROPPED_ATTRIBUTES: usize = 22;
    pub(crate) const DROPPED_EVENTS: usize = 23;
    pub(crate) const DROPPED_LINKS: usize = 24;
    pub(crate) const RESOURCE_DROPPED: usize = 25;
    pub(crate) const SCOPE_DROPPED: usize = 26;
    pub(crate) const RECEIVED: usize = 27;
    pub(crate) const POSITION: usize = 28;
}

/// The schema as Parquet has it.
pub(crate) static SCHEMA: LazyLock<TypePtr> = LazyLock::new(|| {
    let mut message = String::from("message spans {\n");
    for Column {
        name,
        kind,
        optional,
    } in &COLUMNS
    {
        let repetition = if *optional { "optional" } else { "required" };
        let (physical, logical) = match kind {
            Kind::Names | Kind::Text => ("binary", " (STRING)"),
            Kind::Small => ("int32", ""),
            Kind::Long => ("int64", ""),
            Kind::Time => ("int64", " (TIMESTAMP(MICROS,true))"),
        };
        message.push_str(&format!("  {repetition} {physical} {name}{logical};\n"));
    }
    message.push('}');
    #[expect(clippy::expect_used, reason = "a constant, which every test reads")]
    let schema = parse_message_type(&message).expect("the table makes a schema");
    Arc::new(schema)
});

/// How files are written.
pub(crate) static PROPERTIES: LazyLock<WriterPropertiesPtr> = LazyLock::new(|| {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("rekindle ", env!("CARGO_PKG_VERSION")).to_owned())
        // The fastest level: a higher one takes several times as long for a tenth less.
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_data_page_row_count_limit(ROWS_PER_PAGE)
        .set_write_batch_size(1024)
        // Of most columns the least and the greatest of a group in no order say nothing, and footers hold them all.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![KeyValue::new(
            SCHEMA_VERSION_KEY.to_owned(),
            SCHEMA_VERSION.to_owned(),
        )]))
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 0,
            descending: false,
            nulls_first: false,
        }]));
    for (
        index,
        Column {
            name,
            kind,
            optional: _,
        },
    ) in COLUMNS.iter().enumerate()
    {
        let path = || ColumnPath::from(*name);
        let names = matches!(kind, Kind::Names | Kind::Small);
        properties = properties.set_column_dictionary_enabled(path(), names);
        if matches!(kind, Kind::Long | Kind::Time) {
            properties = properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
        if matches!(
            index,
            at::START_TIME | at::RECEIVED | at::SERVICE | at::STATUS
        ) {
            properties = properties.set_column_statistics_enabled(path(), EnabledStatistics::Chunk);
        }
    }
    let trace_id = || ColumnPath::from(COLUMNS[at::TRACE_ID].name);
    let properties = properties
        // Per page, so that a lookup unpacks one page of each column.
        .set_column_statistics_enabled(trace_id(), EnabledStatistics::Page)
        .set_column_bloom_filter_enabled(trace_id(), true)
        .set_column_bloom_filter_fpp(trace_id(), BLOOM_FALSE_POSITIVES)
        // The most; the writer folds a filter to what its group needs.
        .set_column_bloom_filter_max_ndv(trace_id(), ROWS_PER_GROUP as u64);
    Arc::new(properties.build())
});
