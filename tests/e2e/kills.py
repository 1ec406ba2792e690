"""The engine is killed and started again while real exporters send: is what was acknowledged there, once?

For each language, wire form and compression, and for the Collector between an exporter and the engine:
requests flow for some seconds, the engine is killed twice without warning and started at once, and
in the end every request whose spans the exporter was told are taken is counted exactly once, and each of
those spans is in the span store exactly once. What the exporter gave up may be missing, and is shown. Arguments: the
binary, the cache folder, the languages ("collector" among them).
"""

import collections
import json
import pathlib
import subprocess
import sys
import time
import urllib.request

from exporters import variants
from harness import DEADLINE, check_all, environment, free_addresses, get, senders, wait_for

REQUESTS, PAUSE_MS = 400, 10
SPANS_PER_REQUEST = 5
KILLS_AFTER_S = [1.2, 1.5]
# Exporters retry for some seconds to a minute, and their shutdown waits for it.
PATIENCE_S = 2 * DEADLINE

SETTINGS = "store: { url: FOLDER/spans }\n"

COLLECTOR = [
    (exporter, encoding, compression)
    for exporter, encoding in [("otlp", "proto"), ("otlphttp", "proto"), ("otlphttp", "json")]
    for compression in ("none", "gzip", "zstd")
]


def counted(api, variant):
    """How often a request of the variant's shop was counted, whatever its outcome."""
    types = get(api, "/api/v1/view")["request_types"]
    points = [point for one in types if one["name"].startswith(f"shop-{variant} ") for point in one["series"]]
    return sum(point["ok"] + point["bad"] for point in points)


def acknowledged(record):
    """The spans of each trace that exporters were told are taken."""
    traces = {}
    for line in record.read_text().splitlines() if record.exists() else []:
        trace, span = line.split()
        traces.setdefault(trace, set()).add(span)
    return traces


def send_through_kills(engine, command, record):
    sender = subprocess.Popen(
        command,
        env=environment(E2E_REQUESTS=f"{REQUESTS} 0 {PAUSE_MS}", E2E_ACKNOWLEDGED=str(record)),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for pause in KILLS_AFTER_S:
            time.sleep(pause)
            engine.kill()
            engine.start()
        _, errors = sender.communicate(timeout=PATIENCE_S)
    finally:
        sender.kill()
    assert sender.returncode == 0, f"the sender ended with {sender.returncode}: {errors[-2000:]}"
    return sum("were not taken" in line for line in errors.splitlines())


def check_counted(engine, variant, least, most=REQUESTS):
    """At least what was acknowledged, and at most what can have come: what is counted twice is too much."""
    wait_for(f"{least} requests of {variant}", lambda: counted(engine.api, variant) >= least)
    # What is counted twice comes late: a second copy is told from the first by the span's id alone.
    time.sleep(2)
    total = counted(engine.api, variant)
    assert least <= total <= most, f"{variant}: {total} requests counted, {least} acknowledged, at most {most} sent"
    return total


def stored(engine, url=None, *which):
    """How often each span is in the store."""
    command = [engine.binary, "export", "--store", url or f"{engine.folder}/spans", *which]
    exported = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=True)
    times = collections.Counter()
    for line in exported.stdout.splitlines():
        for of_resource in json.loads(line)["resourceSpans"]:
            for of_scope in of_resource["scopeSpans"]:
                for span in of_scope["spans"]:
                    times[span["traceId"], span["spanId"]] += 1
    return times


def send_one(engine):
    """One more request, which nobody looks for."""
    span = {"traceId": "1" * 32, "spanId": "1" * 16, "name": "one more"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{engine.http}/v1/traces", body, headers)
    urllib.request.urlopen(request, timeout=5).close()


def check_stored(engine, variant, taken, send_one=send_one, url=None):
    """Each acknowledged span is in the store, and no span is there twice."""
    # What an earlier life wrote is stored when the journal goes on behind it.
    engine.stop()
    engine.start()
    send_one(engine)
    expected = {(trace, span) for trace, spans in taken.items() for span in spans}

    def with_all():
        found = stored(engine, url)
        return found if expected <= found.keys() else None

    found = wait_for(f"{len(expected)} spans of {variant} in the store", with_all)
    twice = [span for span, times in found.items() if times > 1]
    assert not twice, f"{variant}: {len(twice)} spans are in the store twice, {twice[:3]} among them"
    return len(expected)


def check_language(engine, sender, language, wire, compression):
    variant = f"{language}-{wire.replace('/', '-')}-{compression}"
    record = engine.folder / "acknowledged"
    command = [*sender, wire, compression, variant, engine.grpc, engine.http]
    given_up = send_through_kills(engine, command, record)
    taken = acknowledged(record)
    whole = sum(len(spans) == SPANS_PER_REQUEST for spans in taken.values())
    assert whole > REQUESTS // 2, f"{variant}: {whole} of {REQUESTS} requests were taken at all"
    # A batch that was given up may have come all the same, each with one request's root at least.
    total = check_counted(engine, variant, whole, whole if given_up == 0 else REQUESTS)
    spans = check_stored(engine, variant, taken)
    return (
        f"{variant}: {whole} of {REQUESTS} requests acknowledged, {total} counted, {spans} spans stored once, "
        f"{given_up} batches given up"
    )


def check_collector(engine, sender, cache, exporter, encoding, compression):
    variant = f"collector-{exporter}-{encoding}-{compression}"
    grpc, http = free_addresses(2)
    endpoint = engine.grpc if exporter == "otlp" else f"http://{engine.http}"
    encoded = "" if exporter == "otlp" else f"    encoding: {encoding}\n"
    tls = "    tls: { insecure: true }\n" if exporter == "otlp" else ""
    config = engine.folder / "collector.yaml"
    config.write_text(
        "receivers:\n  otlp:\n    protocols:\n"
        f"      grpc: {{ endpoint: '{grpc}' }}\n      http: {{ endpoint: '{http}' }}\n"
        "processors:\n  batch: { timeout: 200ms }\n"
        f"exporters:\n  {exporter}:\n    endpoint: '{endpoint}'\n    compression: {compression}\n{encoded}{tls}"
        "    retry_on_failure: { initial_interval: 200ms, max_interval: 2s }\n"
        "service:\n  telemetry: { metrics: { level: none } }\n  pipelines:\n"
        f"    traces: {{ receivers: [otlp], processors: [batch], exporters: [{exporter}] }}\n"
    )
    binary = next(iter(cache.glob("e2e-collector-*/collector")))
    with open(engine.folder / "collector.log", "w+") as log:
        collector = subprocess.Popen([binary, "--config", str(config)], stdout=log, stderr=log)
        try:
            wait_for("the Collector", lambda: "Everything is ready" in (engine.folder / "collector.log").read_text())
            record = engine.folder / "acknowledged"
            command = [*sender, "grpc", "none", variant, grpc, http]
            send_through_kills(engine, command, record)
            spans = acknowledged(record)
            taken = sum(len(of_trace) == SPANS_PER_REQUEST for of_trace in spans.values())
            # The Collector took them all; it has a queue, and tries again until they are taken.
            assert taken == REQUESTS, f"{variant}: the Collector took {taken} of {REQUESTS}"
            total = check_counted(engine, variant, REQUESTS)
            kept = check_stored(engine, variant, spans)
        except AssertionError:
            log.seek(0)
            print(log.read()[-3000:])
            raise
        finally:
            collector.terminate()
            collector.wait(timeout=20)
    return f"{variant}: {taken} of {REQUESTS} requests taken by the Collector, {total} counted, {kept} spans stored once"


def cases(languages, commands, cache):
    for language in languages:
        if language == "collector":
            for exporter, encoding, compression in COLLECTOR:
                arguments = (commands["python"], cache, exporter, encoding, compression)
                yield f"collector {exporter} {encoding} {compression}", check_collector, arguments
            continue
        for name, arguments in variants([language], commands):
            yield name, check_language, arguments


def main():
    binary, cache, *languages = sys.argv[1:]
    cache = pathlib.Path(cache)
    return check_all(binary, cases(languages, senders(cache), cache), SETTINGS)


if __name__ == "__main__":
    sys.exit(main())
