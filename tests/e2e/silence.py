"""A shop whose searches hang: is the restart of what hangs judged by what comes again?

`site` serves pages in this process and asks `catalog`, a process that the engine supervises, for searches; it waits for an
answer without an end. Once `catalog` is stuck, searches neither fail nor end. As long as a file lies beside
it, each new life of `catalog` is stuck at once, so that its restart cures nothing. Arguments: the binary; or
"catalog", a port, the file and the engine's address, to be that process.
"""

import http.server
import json
import os
import pathlib
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from harness import Engine, free_addresses, get

HOMES_AND_SEARCHES_PER_SECOND = 5
CALM_S = 330
PATIENCE_S = 90
SPAN_KIND_SERVER, SPAN_KIND_CLIENT, STATUS_ERROR = 2, 3, 2


class Exporter:
    """Sends spans once a second; what can't be sent waits."""

    def __init__(self, service, engine):
        self.service, self.engine, self.spans, self.lock = service, engine, [], threading.Lock()
        threading.Thread(target=self.run, daemon=True).start()

    def span(self, trace, span, parent, name, kind, begun, failed=False, **attributes):
        record = {
            "traceId": trace, "spanId": span, "name": name, "kind": kind,
            "startTimeUnixNano": str(begun), "endTimeUnixNano": str(time.time_ns()),
            "attributes": [{"key": key.replace("_", "."), "value": {"stringValue": value}}
                           for key, value in attributes.items()],
            "status": {"code": STATUS_ERROR} if failed else {},
        }
        if parent:
            record["parentSpanId"] = parent
        with self.lock:
            self.spans.append(record)

    def run(self):
        while True:
            time.sleep(1)
            with self.lock:
                spans, self.spans = self.spans, []
            resource = {"attributes": [{"key": "service.name", "value": {"stringValue": self.service}}]}
            body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
            request = urllib.request.Request(
                f"http://{self.engine}/v1/traces", json.dumps(body).encode(), {"Content-Type": "application/json"})
            try:
                urllib.request.urlopen(request, timeout=5).close()
            except OSError:
                with self.lock:
                    self.spans[:0] = spans


def catalog(port, stuck, engine):
    """Answers searches until the file lies there; from then on never again."""
    exporter, is_stuck = Exporter("catalog", engine), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            begun = time.time_ns()
            if os.path.exists(stuck):
                is_stuck.set()
            while is_stuck.is_set() and self.path != "/ready":
                time.sleep(60)
            if parent := self.headers.get("traceparent"):
                _, trace, caller, _ = parent.split("-")
                exporter.span(trace, secrets.token_hex(8), caller, "GET /search", SPAN_KIND_SERVER, begun)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


class Site:
    """Users come evenly, whatever becomes of those before them."""

    def __init__(self, catalog, engine):
        self.catalog, self.exporter = catalog, Exporter("web", engine)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            threading.Thread(target=self.search, daemon=True).start()
            begun = time.time_ns()
            self.exporter.span(secrets.token_hex(16), secrets.token_hex(8), None, "GET /", SPAN_KIND_SERVER, begun)
            time.sleep(1 / HOMES_AND_SEARCHES_PER_SECOND)

    def search(self):
        trace, entry, call, begun = secrets.token_hex(16), secrets.token_hex(8), secrets.token_hex(8), time.time_ns()
        headers = {"traceparent": f"00-{trace}-{call}-01"}
        try:
            request = urllib.request.Request(f"http://{self.catalog}/search", headers=headers)
            urllib.request.urlopen(request).close()
            failed = False
        except OSError:
            failed = True
        host, port = self.catalog.split(":")
        self.exporter.span(trace, call, entry, "GET", SPAN_KIND_CLIENT, begun, failed, server_address=host,
                           server_port=port)
        self.exporter.span(trace, entry, None, "GET /search", SPAN_KIND_SERVER, begun, failed)


def wait(api, what, check):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        view = get(api, "/api/v1/view")
        if found := check(view):
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s: {json.dumps(view['incidents'])[:3000]} "
                         f"{json.dumps(view['recovery'])[:3000]}")


def proposed(view):
    """The plan that waits for approval."""
    return next((plan["id"] for plan in view["recovery"]["plans"] if plan["state"] == "proposed"), None)


def judged(binary, engine, order):
    """Gives an order, and waits for the verdict on its restart: the verdict, and why."""
    actions = get(engine.api, "/api/v1/view")["recovery"]["actions"]
    before = {action["id"] for action in actions}
    subprocess.run([binary, *order, "--api", f"http://{engine.api}"], check=True, capture_output=True)
    action = wait(engine.api, "it is judged", lambda view: next(
        (one for one in view["recovery"]["actions"] if one["id"] not in before and one["verdict"]), None))
    return action["verdict"], action["note"]


def main(binary):
    port = int(free_addresses(1)[0].split(":")[1])
    settings = f"""restart:
  mode: propose
  tree:
    - unit: shop
      units:
        - unit: catalog
          match: {{ service.name: catalog }}
          process: {{ command: [{sys.executable}, {pathlib.Path(__file__).resolve()}, catalog, "{port}", FOLDER/stuck, HTTP] }}
          ready: {{ http: "http://127.0.0.1:{port}/ready" }}
"""

    def prepare(folder):
        config = folder / "rekindle.yaml"
        config.write_text(config.read_text().replace("HTTP]", f"\"{engine.http}\"]"))

    engine = Engine(binary, settings, prepare)
    with engine:
        Site(f"127.0.0.1:{port}", engine.http)
        time.sleep(CALM_S)
        view = get(engine.api, "/api/v1/view")
        assert not view["incidents"], view["incidents"]
        stuck = engine.folder / "stuck"
        stuck.touch()
        begun = time.monotonic()
        incident = wait(engine.api, "an incident opens", lambda view: next(iter(view["incidents"]), None))
        noticed = time.monotonic() - begun
        assert incident["missing"] > 0 and incident["failed"] == 0, incident
        assert incident["request_types"] == ["web GET /search"], incident
        plan = wait(engine.api, "a restart is proposed", proposed)
        verdict, words = judged(binary, engine, ["approve", str(plan)])
        print(f"noticed after {noticed:.0f} s; still stuck after its restart: {verdict}: {words}", flush=True)
        assert verdict == "not_cured" and "did not come" in words, (verdict, words)
        stuck.unlink()
        verdict, words = judged(binary, engine, ["restart", "catalog", "--reason", "it is unstuck now"])
        print(f"the next restart sets them free: {verdict}: {words}", flush=True)
        assert verdict == "cured", (verdict, words)
        wait(engine.api, "the incident is over", lambda view: view["incidents"][0]["state"] == "closed")
    print("ok")


if __name__ == "__main__":
    if sys.argv[1] == "catalog":
        catalog(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        main(sys.argv[1])
