"""The span store in a bucket behind a real server of S3: is each acknowledged span there once, whatever is killed?

The engine is killed while a put hangs, and while nothing special happens; the server is killed and comes back; spans
are looked up by trace, and go when there are more than are kept. Arguments: the binary (built with the feature `s3`),
the server, the cache folder.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from harness import DEADLINE, check_all, environment, free_addresses, senders, wait_for
from kills import SPANS_PER_REQUEST, acknowledged, check_stored, stored

REQUESTS, ROUNDS = 40, 6
# The compactor looks every two seconds for something to do; then a put hangs.
COMPACTING_AFTER_S = 3

# Older than is kept in the end.
AGE_S = 3 * 24 * 3600

# Each engine's folder is the prefix of its own in the bucket.
BUCKET = "s3://spansFOLDER"
SETTINGS = f"store: {{ url: {BUCKET} }}\n"


class Server:
    """gofakes3 on a folder, which outlives it."""

    def __init__(self, program, folder):
        (self.address,) = free_addresses(1)
        self.command = [program, "-host", self.address, "-backend", "fs", "-fs.path", folder, "-fs.create"]
        self.command += ["-initialbucket", "spans", "-quiet"]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("the bucket", lambda: urllib.request.urlopen(f"http://{self.address}/spans", timeout=5))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


def url_of(engine):
    return BUCKET.replace("FOLDER", str(engine.folder))


def send(engine, sender, variant):
    record = engine.folder / f"acknowledged-{variant}"
    told = environment(E2E_REQUESTS=f"{REQUESTS} 0 1", E2E_ACKNOWLEDGED=str(record))
    subprocess.run([*sender, "grpc", "none", variant, engine.grpc, engine.http], env=told, timeout=DEADLINE, check=True)
    taken = acknowledged(record)
    spans = sum(map(len, taken.values()))
    assert spans == REQUESTS * SPANS_PER_REQUEST, f"{spans} spans of {REQUESTS} requests were taken"
    return taken


def check_killed(engine, sender, server):
    """The engine is killed again and again, every second time while its put hangs."""
    taken = {}
    for number in range(ROUNDS):
        # What the life before wrote is stored as soon as this one's first request is there.
        if number % 2:
            server.hang()
        taken |= send(engine, sender, f"round-{number}")
        time.sleep(COMPACTING_AFTER_S)
        engine.kill()
        server.go_on()
        engine.start()
    kept = check_stored(engine, "all rounds", taken, url=url_of(engine))
    return f"killed {ROUNDS} times: {kept} spans stored once, {check_found(engine, taken)} traces found"


def check_found(engine, taken):
    """Traces by their ids, from the bucket alone."""
    some = sorted(taken)[:: len(taken) // 10]
    for trace in some:
        found = stored(engine, url_of(engine), "--trace", trace)
        assert found.keys() == {(trace, span) for span in taken[trace]}, f"of {trace}: {found}"
    return len(some)


def check_server_gone(engine, sender, server):
    """While there is no bucket, exporters are answered; and nothing is lost. Nor is the engine held up by one that hangs."""
    server.kill()
    taken = send(engine, sender, "without")
    engine.stop()
    engine.start()
    taken |= send(engine, sender, "still-without")
    server.start()
    server.hang()
    time.sleep(COMPACTING_AFTER_S)
    engine.stop()
    engine.start()
    taken |= send(engine, sender, "hanging")
    server.go_on()
    kept = check_stored(engine, "the time without", taken, url=url_of(engine))
    return f"no bucket for a while: {kept} spans stored once"


def check_retained(engine, sender, server):
    """What was imported goes when its time is over; what came just now stays."""
    taken = send(engine, sender, "new")
    check_stored(engine, "new", taken, url=url_of(engine))
    new = stored(engine, url_of(engine)).keys()
    ended = (time.time_ns() - AGE_S * 10**9) // 10**9 * 10**9
    span = {"traceId": "2" * 32, "spanId": "2" * 16, "startTimeUnixNano": ended, "endTimeUnixNano": ended}
    lines = engine.folder / "old.jsonl"
    lines.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}))
    subprocess.run([engine.binary, "import", "--store", url_of(engine), lines], timeout=DEADLINE, check=True)
    assert stored(engine, url_of(engine)).keys() == new | {("2" * 32, "2" * 16)}
    settings = engine.config.read_text()
    engine.config.write_text(settings.replace(url_of(engine), f"{url_of(engine)}, keep_for: 2d"))
    engine.stop()
    engine.start()
    wait_for("what is old to be gone", lambda: ("2" * 32, "2" * 16) not in stored(engine, url_of(engine)))
    assert stored(engine, url_of(engine)).keys() >= new
    return f"what is too old is gone, and {len(new)} spans are not"


def main():
    binary, program, cache = sys.argv[1:]
    sender = senders(pathlib.Path(cache))["python"]
    with tempfile.TemporaryDirectory(prefix="rekindle-bucket-") as folder:
        server = Server(program, folder)
        os.environ.update(
            AWS_ENDPOINT=f"http://{server.address}", AWS_ALLOW_HTTP="true", AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="nobody", AWS_SECRET_ACCESS_KEY="nothing",
        )
        try:
            server.start()
            checks = [check_killed, check_server_gone, check_retained]
            return check_all(binary, [(it.__name__, it, (sender, server)) for it in checks], SETTINGS)
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
