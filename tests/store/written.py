"""Does DuckDB find in the span store, value for value, what a file of OTLP JSON lines said?

    python tests/store/written.py write FILE     writes such a file
    python tests/store/written.py check FOLDER   looks for all of it in the store that it was imported into
"""

import base64
import json
import sys

BEGAN_S, TRACES = 1_795_255_800, 200
KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]
STATUSES = ["unset", "ok", "error"]


def spans():
    """Of each span what a reader must find, by the columns' names."""
    for trace in range(TRACES):
        for number in range(1 + trace % 5):
            # Over some hours, to the nanosecond.
            start = (BEGAN_S + trace * 60) * 10**9 + number * 1001
            yield {
                "trace_id": f"{trace + 1:032x}",
                "span_id": f"{number + 1:016x}",
                "parent_span_id": f"{number:016x}" if number else None,
                "name": f"GET /{trace % 7}/é\"",
                "kind": KINDS[trace % len(KINDS)],
                "start_unix_nanos": start,
                "end_unix_nanos": start + 5 * 10**6 + number,
                "service_name": f"service-{trace % 3}",
                "status_code": STATUSES[trace % len(STATUSES)],
                "status_message": "declined" if trace % len(STATUSES) == 2 else None,
                "attributes": {
                    "text": "a \\ b", "number": 2**53 + trace, "share": 0.5, "yes": True, "list": [1, "two"],
                    "raw": {"bytes": base64.b64encode(bytes([trace])).decode()},
                },
                "events": [{"time_unix_nanos": start + 1, "name": "retry", "attributes": {"n": number}, "dropped_attributes": 0}],
            }


def value(of):
    """A value as OTLP has it."""
    match of:
        case bool():
            return {"boolValue": of}
        case int():
            return {"intValue": str(of)}
        case float():
            return {"doubleValue": of}
        case list():
            return {"arrayValue": {"values": [value(one) for one in of]}}
        case {"bytes": text}:
            return {"bytesValue": text}
        case _:
            return {"stringValue": of}


def pairs(attributes):
    return [{"key": key, "value": value(of)} for key, of in attributes.items()]


def line(span):
    """A request with this span."""
    sent = {
        "traceId": span["trace_id"], "spanId": span["span_id"], "parentSpanId": span["parent_span_id"] or "",
        "name": span["name"], "kind": KINDS.index(span["kind"]),
        "startTimeUnixNano": str(span["start_unix_nanos"]), "endTimeUnixNano": str(span["end_unix_nanos"]),
        "status": {"code": STATUSES.index(span["status_code"]), "message": span["status_message"] or ""},
        "attributes": pairs(span["attributes"]),
        "events": [
            {"timeUnixNano": str(event["time_unix_nanos"]), "name": event["name"], "attributes": pairs(event["attributes"])}
            for event in span["events"]
        ],
    }
    resource = {"attributes": pairs({"service.name": span["service_name"]})}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [sent]}]}]})


def check(folder):
    import duckdb

    expected = {(span["trace_id"], span["span_id"]): span for span in spans()}
    columns = list(next(iter(expected.values())))
    rows = duckdb.execute(f"SELECT {', '.join(columns)} FROM read_parquet('{folder}/**/*.parquet')").fetchall()
    assert len(rows) == len(expected), f"{len(rows)} spans for {len(expected)}"
    for row in rows:
        found = dict(zip(columns, row))
        for name in ("attributes", "events"):
            found[name] = json.loads(found[name])
        wanted = expected[found["trace_id"], found["span_id"]]
        assert found == wanted, f"{found}\nfor\n{wanted}"
    print(f"{len(rows)} spans are as they were written, in {len(columns)} columns")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", path]:
            with open(path, "w") as file:
                file.writelines(f"{line(span)}\n" for span in spans())
        case ["check", folder]:
            check(folder)
        case _:
            sys.exit(__doc__)
