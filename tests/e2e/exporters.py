"""The OpenTelemetry SDKs for Python and Node against the real binary.

For each wire form and compression: the exporter's traces appear, an incident opens for the shop's
checkout, and the failing service is ranked first. Arguments: the binary, the folder with Node's SDK.
"""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BINARY, NODE = sys.argv[1:]
HERE = pathlib.Path(__file__).parent
DEADLINE = 60.0

VARIANTS = [
    (language, wire, compression)
    for language, wires in {
        "python": ["grpc", "http/protobuf"],
        "node": ["grpc", "http/protobuf", "http/json"],
    }.items()
    for wire in wires
    for compression in ("none", "gzip")
]


def free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = ["127.0.0.1:%d" % one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def get(api, path):
    with urllib.request.urlopen(f"http://{api}{path}", timeout=5) as response:
        return json.load(response)


def wait_for(what, check):
    """Waits until `check` gives something, within a bound; what goes wrong meanwhile is shown."""
    last, until = None, time.monotonic() + DEADLINE
    while time.monotonic() < until:
        try:
            found = check()
            if found:
                return found
        except (urllib.error.URLError, ConnectionError, OSError) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {DEADLINE} s ({last})")


def incident_of(api, variant):
    """The variant's incident, once it has a ranking with somebody in it."""
    for incident in get(api, "/api/v1/view")["incidents"]:
        ranking = incident.get("ranking") or {}
        ours = any(name.startswith(f"shop-{variant} ") for name in incident["request_types"])
        if ours and ranking.get("suspects"):
            return incident
    return None


def requests_of(api, variant):
    """Good and failed requests of the variant's shop, each counted exactly once."""
    ok = bad = 0
    for request_type in get(api, "/api/v1/view")["request_types"]:
        if request_type["name"].startswith(f"shop-{variant} "):
            ok += sum(point["ok"] for point in request_type["series"])
            bad += sum(point["bad"] for point in request_type["series"])
    return ok, bad


def example_of(api, variant):
    """The spans of a failed example. Examples change while a ranking does, so all is asked anew."""
    incident = incident_of(api, variant)
    first = incident["ranking"]["suspects"][0] if incident else None
    if not first or not first["examples_failed"]:
        return None
    return get(api, f"/api/v1/traces/{first['examples_failed'][0]}")["spans"]


def check_variant(api, grpc, http, language, wire, compression):
    variant = f"{language}-{wire.replace('/', '-')}-{compression}"
    arguments = [wire, compression, variant, grpc, http]
    if language == "python":
        command = [sys.executable, str(HERE / "send.py"), *arguments]
    else:
        command = ["node", str(HERE / "send.mjs"), *arguments, NODE]
    subprocess.run(command, check=True, timeout=DEADLINE)
    wait_for(f"all requests of {variant}", lambda: requests_of(api, variant) == (60, 30))
    incident = wait_for(f"incident of {variant}", lambda: incident_of(api, variant))
    first = incident["ranking"]["suspects"][0]
    services = {component["service"] for component in first["components"]}
    assert services == {f"payments-{variant}"}, f"{variant}: {first} is ranked first"
    spans = wait_for(f"example of {variant}", lambda: example_of(api, variant))
    assert len(spans) == 5, f"{variant}: {len(spans)} spans of a trace of 5"
    raised = {span["service"] for span in spans if span["raised"]}
    assert raised == {f"payments-{variant}"}, f"{variant}: raised by {raised}"
    return variant


def with_engine(language, wire, compression):
    """Checks a variant against an engine of its own: faults at the same time are one incident."""
    grpc, http, api = free_addresses(3)
    with tempfile.TemporaryDirectory(prefix="rekindle-e2e-") as folder:
        config = pathlib.Path(folder) / "rekindle.yaml"
        config.write_text(
            f"state_dir: {folder}/state\n"
            f'listen: {{ grpc: "{grpc}", http: "{http}", api: "{api}" }}\n'
        )
        with open(pathlib.Path(folder) / "log", "w+") as log:
            engine = subprocess.Popen([BINARY, "run", "--config", str(config)], stdout=log, stderr=log)
            try:
                wait_for("engine", lambda: urllib.request.urlopen(f"http://{api}/-/ready", timeout=5))
                return check_variant(api, grpc, http, language, wire, compression)
            except AssertionError:
                log.seek(0)
                print(log.read()[-5000:])
                raise
            finally:
                engine.send_signal(signal.SIGTERM)
                engine.wait(timeout=20)


def main():
    passed = failed = 0
    for language, wire, compression in VARIANTS:
        try:
            print("ok  ", with_engine(language, wire, compression), flush=True)
            passed += 1
        except (AssertionError, subprocess.SubprocessError) as error:
            print("FAIL", language, wire, compression, error, flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
