"""Writes small recorded traces for the notebooks to open with: no data set is needed to try them.

    notebooks/example.py FOLDER

FOLDER gets good.json and bad.json (Jaeger's JSON, for `rekindle analyze`), and sets/shapleyiq, six labelled
cases of two made-up systems in the layout of that set (for `rekindle bench localization`). The same every time.
"""

import gzip
import json
import pathlib
import random
import sys

# Caller to callees, and usual milliseconds of own work.
SHOP = {
    "web": (["catalog", "cart", "account"], 5), "catalog": (["search", "prices"], 4),
    "cart": (["prices", "stock"], 6), "account": ([], 3), "search": ([], 9), "prices": ([], 2), "stock": ([], 7),
}
BANK = {
    "gate": (["ledger", "cards"], 4), "ledger": (["rates", "audit"], 8), "cards": (["limits"], 5),
    "rates": ([], 3), "audit": ([], 6), "limits": ([], 4),
}
START_MICROS = 1_790_000_000_000_000


class Recorder:
    def __init__(self, system, seed):
        self.system, self.random, self.traces = system, random.Random(seed), 0

    def trace(self, fault=None):
        """One request: every callee is asked in turn. `fault` is (service, kind)."""
        self.traces += 1
        trace_id = f"{self.random.getrandbits(127) + 1:032x}"
        spans, processes = [], {}

        def span(service, name, kind, start, duration, parent, failed):
            span_id = f"{self.random.getrandbits(63) + 1:016x}"
            processes.setdefault(service, {"serviceName": service, "tags": []})
            references = [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent}] if parent else []
            tags = [{"key": "span.kind", "type": "string", "value": kind},
                    {"key": "http.status_code", "type": "int64", "value": 500 if failed else 200}]
            if failed:
                tags.append({"key": "error", "type": "bool", "value": True})
            spans.append({"traceID": trace_id, "spanID": span_id, "operationName": name, "references": references,
                          "startTime": start, "duration": duration, "tags": tags, "processID": service})
            return len(spans) - 1

        def visit(service, start, parent):
            callees, millis = self.system[service]
            here = span(service, f"GET /{service}", "server", start, 0, parent, False)
            sick = fault is not None and fault[0] == service
            work = int(self.random.lognormvariate(0, 0.2) * millis * 1000)
            if sick and fault[1] == "slow":
                work += 120_000
            now, failed = start + work, sick and fault[1] == "fails"
            for callee in callees:
                if failed:
                    break
                # Not every request needs everything, so that paths differ.
                if self.random.random() < 0.25:
                    continue
                call = span(service, f"GET {callee}", "client", now, 0, spans[here]["spanID"], False)
                end, failed = visit(callee, now + 500, spans[call]["spanID"])
                now = end + 500
                finish(call, now, failed)
            finish(here, now, failed)
            return now, failed

        def finish(at, now, failed):
            spans[at]["duration"] = now - spans[at]["startTime"]
            if failed:
                spans[at]["tags"][1]["value"] = 500
                spans[at]["tags"].append({"key": "error", "type": "bool", "value": True})

        visit(next(iter(self.system)), START_MICROS + self.traces * 200_000, None)
        return {"traceID": trace_id, "spans": spans, "processes": processes}

    def traces_of(self, number, *faults):
        """Every other request meets the first fault; where there are two, the rest meet the second."""
        meets = [fault for n in range(2) for fault in (faults[n:n + 1] or (None,))]
        return {"data": [self.trace(meets[n % 2]) for n in range(number)]}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(SHOP, 1)
    (folder / "good.json").write_text(json.dumps(recorder.traces_of(300)))
    (folder / "bad.json").write_text(json.dumps(recorder.traces_of(120, ("prices", "fails"), ("stock", "slow"))))
    data = folder / "sets" / "shapleyiq" / "data"
    data.mkdir(parents=True, exist_ok=True)
    cases = []
    for name, system in (("Shop", SHOP), ("Bank", BANK)):
        for n, (service, kind) in enumerate((s, k) for s in list(system)[2:5] for k in ("slow", "fails")):
            recorder = Recorder(system, 100 + n)
            case = f"{name.lower()}_{service}_{kind}"
            for half, traces in (("normal", recorder.traces_of(120)), ("faulty", recorder.traces_of(50, (service, kind)))):
                with gzip.GzipFile(data / f"{case}.{half}.json.gz", "w", mtime=0) as file:
                    file.write(json.dumps(traces).encode())
            cases.append({"id": case, "system": name, "fault_type": kind, "root_cause": {"service": service},
                          "normal_files": [f"data/{case}.normal.json.gz"],
                          "faulty_files": [f"data/{case}.faulty.json.gz"]})
    (folder / "sets" / "shapleyiq" / "manifest.json").write_text(json.dumps({"cases": cases}, indent=1))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
