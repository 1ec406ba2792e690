"""Do DuckDB and polars read the span store as ingest/store/SCHEMA.md says, and do they agree?

    python tests/store/readers.py FOLDER

`readers` beside it installs both, and makes a store.
"""

import json
import sys

import duckdb
import polars as pl

folder = sys.argv[1]
files = f"{folder}/**/*.parquet"

duck = duckdb.connect()
duck.execute(
    f"CREATE VIEW spans AS SELECT * FROM read_parquet('{files}', hive_partitioning = true)"
)
spans = pl.scan_parquet(files, hive_partitioning=True)


def one(sql):
    return duck.execute(sql).fetchall()


rows = one("SELECT count(*), count(DISTINCT (trace_id, span_id)), count(DISTINCT trace_id) FROM spans")[0]
print(f"{rows[0]} spans, {rows[1]} of them different, of {rows[2]} traces")
assert rows[0] > 0, "the store is empty"

lazy = spans.select(
    pl.len(),
    pl.struct("trace_id", "span_id").n_unique().alias("different"),
    pl.col("trace_id").n_unique(),
)
assert lazy.collect().row(0) == rows, lazy.collect()

# What people ask: by service and status, by time, by an attribute, by folder.
by_service = sorted(one("SELECT service_name, status_code, count(*) FROM spans GROUP BY ALL"), key=str)
lazy = spans.group_by("service_name", "status_code").len()
assert sorted(lazy.collect().rows(), key=str) == by_service
print(f"{len(by_service)} pairs of service and status")

first, last, exact = one(
    "SELECT min(start_time), max(start_time), bool_and(epoch_us(start_time) = start_unix_nanos // 1000) FROM spans"
)[0]
print(f"began between {first} and {last}")
assert exact, "start_time is not start_unix_nanos"
assert spans.select(pl.col("start_time").min()).collect().item().timestamp() == first.timestamp()

key, number = one(
    "SELECT key, count(*) FROM (SELECT unnest(json_keys(attributes)) AS key FROM spans) GROUP BY key ORDER BY 2 DESC, 1 LIMIT 1"
)[0]
print(f"{number} spans have the attribute {key}")
values = one(f"""SELECT attributes->>'$."{key}"' AS value, count(*) FROM spans GROUP BY value ORDER BY 2 DESC, 1 LIMIT 5""")
lazy = spans.select(pl.col("attributes").str.json_path_match(f'$["{key}"]').alias("value"))
counts = dict(lazy.group_by("value").len().collect().rows())
for value, number in values:
    assert counts[value] == number, (value, number, counts.get(value))

# Every JSON column is JSON.
for column in ("attributes", "resource", "events", "links", "scope_attributes"):
    bad = one(f"SELECT count(*) FROM spans WHERE {column} IS NOT NULL AND NOT json_valid({column})")[0][0]
    assert bad == 0, f"{bad} rows of {column} are no JSON"
    sample = spans.filter(pl.col(column).is_not_null()).select(column).head(1000).collect()
    for (text,) in sample.rows():
        json.loads(text)

hours = one("SELECT DISTINCT date, hour FROM spans ORDER BY ALL")
print(f"{len(hours)} hours, from {hours[0]} to {hours[-1]}")

# Within a file rows are sorted by trace, and the file says so.
for (path,) in one(f"SELECT file FROM glob('{files}')"):
    ids = pl.read_parquet(path, columns=["trace_id"], hive_partitioning=False)["trace_id"]
    assert ids.is_sorted(), f"{path} is not sorted"
filtered = one("SELECT bloom_filter_offset IS NOT NULL AS has, count(*) FROM "
    f"parquet_metadata('{files}') WHERE path_in_schema = 'trace_id' GROUP BY has")
assert [has for has, _ in filtered] == [True], filtered
print("duckdb", duckdb.__version__, "and polars", pl.__version__, "agree")
