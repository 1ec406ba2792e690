"""Users of a pool of replicas, as its spans show them: OTLP JSON to the URL given, until it is killed.

    replicas.py URL NAME=CONTAINER-ID ... FILE

Each request enters at a front and asks one replica in turn; the one whose name is in the file fails it.
"""

import itertools
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request

url, *replicas, sick_file = sys.argv[1:]
replicas = [replica.split("=", 1) for replica in replicas]


def attributes(**values):
    return [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in values.items()]


def span(trace, name, kind, start, end, parent=None, failed=False):
    made = {
        "traceId": trace,
        "spanId": secrets.token_hex(8),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
    }
    if parent:
        made["parentSpanId"] = parent["spanId"]
    if failed:
        made["status"] = {"code": 2, "message": "broken"}
        made["attributes"] = attributes(error__type="Broken")
    return made


def exported(resource, spans):
    return {"resource": {"attributes": resource}, "scopeSpans": [{"spans": spans}]}


SERVER, CLIENT = 2, 3
for name, container in itertools.cycle(replicas):
    sick = open(sick_file).read().strip() if os.path.exists(sick_file) else ""
    failed = name == sick
    now = time.time_ns()
    trace = secrets.token_hex(16)
    entry = span(trace, "GET /", SERVER, now, now + 9_000_000, failed=failed)
    call = span(trace, "GET /part", CLIENT, now + 1_000_000, now + 8_000_000, entry, failed)
    work = span(trace, "GET /part", SERVER, now + 2_000_000, now + 7_000_000, call, failed)
    body = {
        "resourceSpans": [
            exported(attributes(service__name="front", service__instance__id="front-1"), [entry, call]),
            exported(
                attributes(service__name="pool", service__instance__id=name, container__id=container), [work]
            ),
        ]
    }
    request = urllib.request.Request(
        url + "/v1/traces", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=5).read()
    except (urllib.error.URLError, OSError):
        pass
    time.sleep(0.02)
