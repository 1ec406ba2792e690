"""For the scripts beside it: the real binary as a process, and senders in five languages.

A sender is a command that takes wire form, compression, name of the variant, gRPC address and HTTP
address; send.py says what else.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).parent
DEADLINE = 60.0


def senders(cache):
    """The command of each language whose SDK is installed below the cache folder."""
    node, go, java, rust = (cache / name for name in ("e2e-node-1", "e2e-go-1", "e2e-java-1", "e2e-rust-1"))
    commands = {"python": [sys.executable, str(HERE / "send.py")]}
    if node.exists():
        commands["node"] = ["node", str(HERE / "send.mjs"), str(node)]
    if go.exists():
        commands["go"] = [str(go / "send")]
    if java.exists():
        commands["java"] = ["java", "-cp", f"{java}/classes:{java}/lib/*", "Send"]
    if rust.exists():
        commands["rust"] = [str(rust / "debug" / "send")]
    return commands


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
        except (urllib.error.URLError, ConnectionError, OSError, subprocess.CalledProcessError) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {DEADLINE} s ({last})")


class Engine:
    """The engine in a folder of its own, which is gone afterwards and is FOLDER in the settings; its log is shown after a
    failed check."""

    def __init__(self, binary, settings="", prepare=None):
        self.binary, self.settings, self.prepare, self.process = binary, settings, prepare, None

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="rekindle-e2e-")
        self.folder = pathlib.Path(self.temporary.name)
        self.grpc, self.http, self.api = free_addresses(3)
        self.config = self.folder / "rekindle.yaml"
        self.config.write_text(
            f"state_dir: {self.folder}/state\n"
            f'listen: {{ grpc: "{self.grpc}", http: "{self.http}", api: "{self.api}" }}\n'
            f"{self.settings.replace('FOLDER', str(self.folder))}"
        )
        if self.prepare:
            self.prepare(self.folder)
        self.log = open(self.folder / "log", "a+")
        self.start()
        return self

    def start(self):
        command = [self.binary, "run", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.wait_ready()

    def wait_ready(self):
        ready = f"http://{self.api}/-/ready"
        try:
            wait_for("the engine", lambda: urllib.request.urlopen(ready, timeout=5))
        except AssertionError:
            self.log.seek(0)
            print(self.log.read()[-5000:])
            raise

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)

    def __exit__(self, kind, *_):
        if self.process and self.process.poll() is None:
            self.stop()
        if kind:
            self.log.seek(0)
            print(self.log.read()[-5000:])
        self.log.close()
        self.temporary.cleanup()


def check_all(binary, cases, settings="", prepare=None):
    """Runs each case (its name, its check and the check's arguments) against an engine of its own, since faults at
    the same time are one incident; says what came of it; the exit code. `prepare` puts into the engine's folder what the
    settings name."""
    passed = failed = 0
    for name, check, arguments in cases:
        try:
            with Engine(binary, settings, prepare) as engine:
                print("ok  ", check(engine, *arguments), flush=True)
            passed += 1
        except (AssertionError, subprocess.SubprocessError) as error:
            print("FAIL", name, error, flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def environment(**extra):
    return {**os.environ, **extra}
