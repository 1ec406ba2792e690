"""What does a complete analysis of recorded spans cost beside DuckDB's mere counts, on the same file?

    analyze.py BINARY FOLDER [SPANS]

Makes a file of so many spans (10,000,000) in the span store's schema, once: ten spans a trace, 1,280 operations
of 128 services, an hour, in whose last fifth one of forty request types fails. Then DuckDB counts failed and
good traces per operation, and `rekindle analyze` ranks suspects; both have two threads. Each runs three times, in
turns; medians are printed.
"""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import threading
import time

HOUR = 3600 * 10**9
BEGIN = 1_795_255_200 * 10**9
RUNS = 3

MAKE = """
SET threads = 2;
COPY (
  WITH spans AS (
    SELECT i, j, i % 40 AS t, i // 40 % 32 AS v,
      i >= {traces} * 4 // 5 AND i % 40 = 0 AND i % 3 = 0 AS failed
    FROM range({traces}) AS traces(i), range(10) AS spans(j)
  ), placed AS (
    -- A server and a client take turns: who is called is a service further.
    SELECT *, (j + 1) // 2 AS hop, j % 2 = 1 AS is_client,
      (t * 31 + v * CASE WHEN t = 0 THEN 0 ELSE 7 END + j // 2 * 13) % 128 AS s, (t + v + j // 2) % 10 AS o,
      {begin} + i * ({hour} // {traces}) + j * 1000000 AS starts
    FROM spans
  )
  SELECT md5(i::VARCHAR) AS trace_id, printf('%016x', i * 16 + j + 1) AS span_id,
    CASE WHEN j > 0 THEN printf('%016x', i * 16 + j) END AS parent_span_id,
    CASE WHEN is_client THEN 'GET' ELSE 'GET /' || o END AS name,
    CASE WHEN is_client THEN 'client' ELSE 'server' END AS kind,
    make_timestamp(starts // 1000) AS start_time, starts AS start_unix_nanos,
    starts + (20 - j) * 1000000 + (i * 7919 + j * 104729) % 900000 AS end_unix_nanos,
    'service-' || s AS service_name, CASE WHEN failed THEN 'error' ELSE 'unset' END AS status_code,
    NULL::VARCHAR AS status_message,
    '{{"http.request.method":"GET","http.response.status_code":' || CASE WHEN failed THEN 500 ELSE 200 END ||
      ',"http.route":"/' || o || '"}}' AS attributes,
    NULL::VARCHAR AS events, NULL::VARCHAR AS links,
    '{{"host.name":"host-' || s % 16 || '","service.instance.id":"service-' || s || '-1","service.name":"service-' ||
      s || '"}}' AS resource,
    'io.opentelemetry' AS scope_name, NULL::VARCHAR AS scope_version, '{{}}' AS scope_attributes,
    NULL::VARCHAR AS trace_state, 0::INTEGER AS flags, starts AS received_unix_nanos, 0::BIGINT AS journal_position
  FROM placed ORDER BY trace_id, span_id
) TO '{file}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)
"""

COUNT = """
SET threads = 2;
WITH traces AS (
  SELECT trace_id, bool_or(status_code = 'error') AS failed FROM read_parquet('{file}') GROUP BY ALL
), touched AS (SELECT DISTINCT trace_id, service_name, name FROM read_parquet('{file}'))
SELECT service_name, name, count(*) FILTER (failed), count(*) FILTER (NOT failed)
FROM touched JOIN traces USING (trace_id) GROUP BY ALL
"""


def measured(command):
    """CPU seconds, wall seconds, megabytes, and what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    # GNU time would do the same; this needs nothing to be installed.
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak = 0
    status = pathlib.Path(f"/proc/{child.pid}/status")
    out = []
    reader = threading.Thread(target=lambda: out.append(child.stdout.read()))
    reader.start()
    while child.poll() is None:
        try:
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak = max(peak, int(line.split()[1]))
        except OSError:
            pass
        time.sleep(0.02)
    reader.join()
    if child.returncode != 0:
        sys.exit(f"{command[0]} failed with {child.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - began, peak / 1024, out[0]


def duckdb_runs(sql):
    return [sys.executable, "-c", f"import duckdb; print(len(duckdb.sql({sql!r}).fetchall()))"]


def main(binary, folder, spans=10_000_000):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{spans}.parquet"
    traces = int(spans) // 10
    if not file.exists():
        import duckdb
        part = file.with_suffix(".part")
        for statement in MAKE.format(file=part, traces=traces, begin=BEGIN, hour=HOUR).split(";"):
            duckdb.execute(statement)
        part.rename(file)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((BEGIN + HOUR * 4 // 5) / 10**9))
    # Both statements in one call: DuckDB takes the last one's answer.
    count = COUNT.format(file=file)
    ours = [binary, "analyze", str(file), "--since", since, "-o", "json"]
    seen = {"DuckDB, counts": [], "rekindle analyze": []}
    for _ in range(RUNS):
        seen["DuckDB, counts"].append(measured(duckdb_runs(count)))
        seen["rekindle analyze"].append(measured(ours))
    print(f"{int(spans):,} spans, {file.stat().st_size / 1e6:.0f} MB")
    for name, runs in seen.items():
        cpu, wall, peak = (statistics.median(run[at] for run in runs) for at in range(3))
        print(f"{name:18} {cpu:6.2f} CPU-s {wall:6.2f} s {peak:6.0f} MB")
    ranking = json.loads(seen["rekindle analyze"][0][3])["ranking"]
    first = ranking["suspects"][0]
    print(f"first suspect: {first['sentence']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
