"""The power goes at any moment of the engine's life: is what was acknowledged on every disk that this may leave behind?

A disk promises little: a file's bytes are there once the file was synced, a name (a new file's, a renamed or a removed one's)
once its folder was. What wasn't synced may be there, wholly or in part, or not. So the calls of a real engine that change
files are recorded, over three lives that end without warning, while spans are sent, segments are compacted into the store and a unit
is restarted by order. Then, for moments of that record, folders are made up as such a disk may be, and the engine is started on them:
it must start, each span that was acknowledged before that moment must come to be in the store exactly once, nothing that wasn't
sent may be there, and each restart that was acknowledged must be in the ledger.

What this can't show: a disk that lies about what it synced, or sectors that go bad.
"""

import argparse
import bisect
import collections
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from harness import Engine, get, wait_for

# 16 MiB of journal make segments of 4 MiB: some are full, compacted and let go in each life.
SETTINGS = """store: { url: FOLDER/spans }
ingest: { journal: { max_bytes: 16MiB } }
restart:
  tree:
    - unit: web
      match: { service.name: web }
      process: { command: [sleep, infinity] }
"""
LIVES = 3
REQUESTS = 130
SENDERS = 3
BYTES_PER_SPAN = 12_000
SPANS_PER_REQUEST = 3

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,fsync,fdatasync,sync_file_range,fallocate,truncate,"
    "ftruncate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,copy_file_range,sendfile,mmap"
)
# What came before it, if the call took so long that others came in between.
UNFINISHED = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)$")
WHOLE = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*)$")
RESULT = re.compile(r"^(.*)\)\s+= (-?\d+|0x[0-9a-f]+)(?:<([^>]*)>)?(.*)$", re.DOTALL)
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)(?:<([^>]*)>(\(deleted\))?)?")


def text_of(escaped):
    return bytes.fromhex(escaped.replace("\\x", ""))


def calls_of(path):
    """The calls of a record in the order in which they ended: when each began (its place in the record, and the time), its
    name, arguments and result."""
    begun = {}
    for place, line in enumerate(open(path, errors="replace")):
        line = line.rstrip("\n")
        if found := UNFINISHED.match(line):
            thread, at, name, arguments = found.groups()
            begun[thread] = (place, float(at), name, arguments)
            continue
        if found := RESUMED.match(line):
            thread, _, name, rest = found.groups()
            if thread not in begun:
                continue
            began, at, same, arguments = begun.pop(thread)
            assert same == name, line[:200]
            rest = arguments + rest
        elif found := WHOLE.match(line):
            _, at, name, rest = found.groups()
            began, at = place, float(at)
        else:
            continue
        if ended := RESULT.match(rest):
            arguments, result, named, _ = ended.groups()
            yield began, place, at, name, arguments, int(result, 0), text_of(named or "").decode() if named else None


class Change:
    """What a call changed, and from when on it is there for good."""

    __slots__ = ("at", "what", "on", "detail", "for_good")

    def __init__(self, at, what, on, detail):
        self.at, self.what, self.on, self.detail, self.for_good = at, what, on, detail, None


class Folder:
    def __init__(self):
        self.names = {}


class File:
    pass


class Disk:
    """What the recorded calls did, below a folder."""

    def __init__(self, root):
        self.root, self.top = str(root), Folder()
        self.changes = []
        self.waiting = collections.defaultdict(list)
        self.positions = {}
        self.sizes = collections.Counter()
        self.moments = []
        self.times = {}

    def time_of(self, moment):
        """When the call began that ended then."""
        return self.times[moment]

    def number_of(self, moment):
        return bisect.bisect_right([change.at for change in self.changes], moment)

    def inside(self, path):
        return path is not None and (path == self.root or path.startswith(self.root + "/"))

    def folder_and_name(self, path):
        *folders, name = path[len(self.root) + 1 :].split("/")
        here = self.top
        for one in folders:
            here = here.names[one]
        return here, name

    def find(self, path):
        if path == self.root:
            return self.top
        folder, name = self.folder_and_name(path)
        return folder.names.get(name)

    def change(self, at, what, on, detail):
        change = Change(at, what, on, detail)
        self.changes.append(change)
        self.waiting[on].append(change)

    def synced(self, began, ended, on):
        """What was done before the call began is there for good when it ends."""
        left = []
        for change in self.waiting[on]:
            if change.at < began:
                change.for_good = ended
            else:
                left.append(change)
        self.waiting[on] = left

    def write(self, at, file, offset, data):
        self.sizes[file] = max(self.sizes[file], offset + len(data))
        self.change(at, "write", file, (offset, data))

    def take(self, base, began, ended, at, name, arguments, result, named):
        """One call. `base` makes the places of several records one order."""
        began, ended = base + began, base + ended
        if result < 0 and name not in ("mmap",):
            return
        texts = [text_of(one) for one in TEXT.findall(arguments)]
        descriptor = DESCRIPTOR.match(arguments)
        on_path = text_of(descriptor.group(2)).decode() if descriptor and descriptor.group(2) else None
        file = None
        if on_path and self.inside(on_path) and not (descriptor.group(3)):
            file = self.find(on_path)
        before = len(self.changes)
        match name:
            case "open" | "openat" | "creat":
                path = texts[0].decode()
                if not self.inside(path):
                    return
                folder, last = self.folder_and_name(path)
                known = folder.names.get(last)
                if known is None:
                    if "O_CREAT" not in arguments and name != "creat":
                        # The configuration, which was there before.
                        return
                    known = folder.names[last] = File()
                    self.change(ended, "name", folder, (last, known))
                elif "O_TRUNC" in arguments and self.sizes[known]:
                    self.sizes[known] = 0
                    self.change(ended, "cut", known, 0)
                self.positions[result, path] = self.sizes[known] if "O_APPEND" in arguments else 0
            case "lseek":
                if file:
                    self.positions[int(descriptor.group(1)), on_path] = result
            case "write" | "writev":
                if not file:
                    return
                data = b"".join(texts)[:result]
                place = (int(descriptor.group(1)), on_path)
                offset = self.positions.get(place, self.sizes[file])
                self.positions[place] = offset + result
                self.write(ended, file, offset, data)
            case "pwrite64" | "pwritev" | "pwritev2":
                if not file:
                    return
                after = arguments.rsplit('"', 1)[1]
                numbers = re.findall(r"-?\d+", re.sub(r"iov_len=\d+", "", after))
                offset = int(numbers[1])
                self.write(ended, file, offset, b"".join(texts)[:result])
            case "ftruncate":
                if file:
                    size = int(arguments.rsplit(", ", 1)[1])
                    self.sizes[file] = size
                    self.change(ended, "cut", file, size)
            case "fallocate":
                if file and "KEEP_SIZE" not in arguments:
                    offset, length = (int(one) for one in arguments.rsplit(", ", 2)[1:])
                    self.sizes[file] = max(self.sizes[file], offset + length)
                    self.change(ended, "cut", file, self.sizes[file])
            case "fsync" | "fdatasync":
                if file:
                    self.synced(began, ended, file)
                    self.moments.append(ended)
            case "rename" | "renameat" | "renameat2":
                old, new = (one.decode() for one in texts)
                if not self.inside(old):
                    return
                (folder, last), (target, later) = self.folder_and_name(old), self.folder_and_name(new)
                assert folder is target, f"{old} was moved to another folder, which this doesn't know"
                moved = folder.names.pop(last)
                folder.names[later] = moved
                self.change(ended, "rename", folder, (last, later, moved))
            case "unlink" | "unlinkat" | "rmdir":
                path = texts[0].decode()
                if not self.inside(path):
                    return
                folder, last = self.folder_and_name(path)
                del folder.names[last]
                self.change(ended, "remove", folder, (last,))
            case "mkdir" | "mkdirat":
                path = texts[0].decode()
                if not self.inside(path):
                    return
                folder, last = self.folder_and_name(path)
                made = folder.names[last] = Folder()
                self.change(ended, "name", folder, (last, made))
            case "mmap":
                shared = "MAP_SHARED" in arguments and "PROT_WRITE" in arguments
                path = re.search(r"\d+<((?:\\x[0-9a-f]{2})+)>", arguments)
                path = text_of(path.group(1)).decode() if path else ""
                # SQLite's index of its log is made anew after a loss of power.
                assert not shared or not self.inside(path) or path.endswith("-shm"), f"{path} is written as memory"
            case "sync_file_range":
                pass
            case _:
                path = texts[0].decode() if texts else on_path
                assert not self.inside(path) and not self.inside(on_path), f"{name} of {path} isn't known here"
        if len(self.changes) > before:
            self.moments.append(ended)
        self.times[ended] = at

    def made_up(self, moment, fate, into):
        """Makes the folder as the disk may be when the power goes at this moment: what isn't there for good has the fate that
        is chosen for it: `kept`, `lost`, or for bytes `zeroes`."""
        contents, names = {}, {self.top: {}}
        for change in self.changes:
            if change.at > moment:
                break
            is_there = change.for_good is not None and change.for_good <= moment
            is_bytes = change.what in ("write", "cut")
            chosen = "kept" if is_there else fate(change, is_bytes)
            if chosen == "lost":
                continue
            match change.what:
                case "write":
                    offset, data = change.detail
                    held = contents.setdefault(change.on, bytearray())
                    if len(held) < offset + len(data):
                        held.extend(bytes(offset + len(data) - len(held)))
                    held[offset : offset + len(data)] = data if chosen == "kept" else bytes(len(data))
                case "cut":
                    held, size = contents.setdefault(change.on, bytearray()), change.detail
                    del held[size:]
                    held.extend(bytes(size - len(held)))
                case "name":
                    last, one = change.detail
                    names.setdefault(change.on, {})[last] = one
                case "rename":
                    last, later, one = change.detail
                    held = names.setdefault(change.on, {})
                    held.pop(last, None)
                    held[later] = one
                case "remove":
                    names.setdefault(change.on, {}).pop(change.detail[0], None)

        def lay(folder, path):
            path.mkdir(exist_ok=True)
            for last, one in names.get(folder, {}).items():
                if isinstance(one, Folder):
                    lay(one, path / last)
                else:
                    (path / last).write_bytes(contents.get(one, b""))

        lay(self.top, into)


# What becomes of what wasn't synced.
def all_kept(_):
    return lambda change, is_bytes: "kept"


def all_lost(_):
    return lambda change, is_bytes: "lost"


def names_only(_):
    return lambda change, is_bytes: "lost" if is_bytes else "kept"


def names_and_zeroes(_):
    return lambda change, is_bytes: "zeroes" if is_bytes else "kept"


def bytes_only(_):
    return lambda change, is_bytes: "kept" if is_bytes else "lost"


def by_chance(chance):
    """Bytes in any order, names of a folder in theirs: file systems keep a journal of names."""
    ended = set()

    def fate(change, is_bytes):
        if is_bytes:
            return chance.choice(("kept", "lost", "zeroes"))
        if change.on in ended or chance.random() < 0.2:
            ended.add(change.on)
            return "lost"
        return "kept"

    return fate


FATES = (all_kept, all_lost, names_only, names_and_zeroes, bytes_only, by_chance)


class Recorded(Engine):
    """The engine, with its calls recorded in each of its lives."""

    lives = 0

    def record(self, life):
        return self.folder.parent / f"{self.folder.name}-record-{life}"

    def start(self):
        self.lives += 1
        command = ["strace", "-f", "-I", "1", "-ttt", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-e", "signal=none"]
        command += ["-o", str(self.record(self.lives)), self.binary, "run", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.wait_ready()
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.engine = int(children[0])

    def kill(self):
        os.kill(self.engine, signal.SIGKILL)
        wait_for("the end of the engine", lambda: not pathlib.Path(f"/proc/{self.engine}").exists())
        # What it supervised goes on, and would be recorded.
        self.process.terminate()
        self.process.wait()


class Told:
    """What was sent, and what of it was acknowledged, and when."""

    def __init__(self, seed):
        self.chance, self.lock = random.Random(seed), threading.Lock()
        self.sent, self.acknowledged, self.restarts, self.refused = {}, [], [], 0

    def request(self):
        spans, ids = [], []
        with self.lock:
            for _ in range(SPANS_PER_REQUEST):
                trace, span = f"{self.chance.getrandbits(128):032x}", f"{self.chance.getrandbits(64):016x}"
                text = f"{self.chance.getrandbits(8 * BYTES_PER_SPAN // 2):0{BYTES_PER_SPAN}x}"
                self.sent[trace, span] = text
                ids.append((trace, span))
                now = time.time_ns()
                spans.append(
                    {
                        "traceId": trace,
                        "spanId": span,
                        "name": "GET /",
                        "kind": 2,
                        "startTimeUnixNano": str(now - 1_000_000),
                        "endTimeUnixNano": str(now),
                        "attributes": [{"key": "text", "value": {"stringValue": text}}],
                    }
                )
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]}
        return ids, json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()

    def send(self, address, count):
        for _ in range(count):
            ids, body = self.request()
            request = urllib.request.Request(
                f"http://{address}/v1/traces", body, {"Content-Type": "application/json"}
            )
            while True:
                try:
                    urllib.request.urlopen(request, timeout=60).close()
                    with self.lock:
                        self.acknowledged.append((time.time(), ids))
                    break
                except urllib.error.HTTPError as refused:
                    # It is behind; the same request again is no second one.
                    assert refused.code == 503, refused
                    self.refused += 1
                    time.sleep(0.2)
                except (urllib.error.URLError, OSError):
                    # It was killed, and nobody knows whether it took this one.
                    break

    def order(self, engine, number):
        reason = f"order {number}"
        command = [engine.binary, "restart", "web", "--reason", reason, "--api", f"http://{engine.api}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        self.restarts.append((time.time(), reason))


def supervised(engine):
    """The process that the engine keeps, if it lives."""
    view = get(engine.api, "/api/v1/view")
    processes = [unit["process"] for unit in view["tree"] if unit.get("process")]
    return processes[0]["pid"] if processes else None


def end(process):
    if process:
        os.kill(process, signal.SIGKILL)


def record(binary, seed):
    """Three lives of an engine: the changes of its folder, and what it acknowledged."""
    told = Told(seed)
    with Recorded(binary, SETTINGS) as engine:
        root, records = engine.folder, []
        for life in range(LIVES):
            if life:
                engine.start()
            senders = [
                threading.Thread(target=told.send, args=(engine.http, REQUESTS // SENDERS)) for _ in range(SENDERS)
            ]
            for one in senders:
                one.start()
            told.order(engine, life)
            for one in senders:
                one.join()
            # Long enough for segments to be compacted and let go.
            time.sleep(6)
            last = threading.Thread(target=told.send, args=(engine.http, 3))
            last.start()
            kept = supervised(engine)
            records.append(engine.record(engine.lives))
            engine.kill()
            last.join()
        end(kept)
        engine.process = None
    disk, base = Disk(root), 0
    for path in records:
        place = 0
        for began, place, *call in calls_of(path):
            disk.take(base, began, place, *call)
        base += place + 1
        path.unlink()
    return disk, told


def stored(engine):
    """How often each span is in the store, and its text."""
    command = [engine.binary, "export", "--store", f"{engine.folder}/spans"]
    exported = subprocess.run(command, capture_output=True, timeout=60)
    found = collections.defaultdict(list)
    if exported.returncode:
        assert b"there is no store" in exported.stderr or b"there are no spans" in exported.stderr, exported.stderr
        return found
    for line in exported.stdout.splitlines():
        for of_resource in json.loads(line)["resourceSpans"]:
            for of_scope in of_resource["scopeSpans"]:
                for span in of_scope["spans"]:
                    texts = [it["value"]["stringValue"] for it in span.get("attributes", []) if it["key"] == "text"]
                    found[span["traceId"], span["spanId"]].append("".join(texts))
    return found


ONE_MORE = ("1" * 32, "1" * 16)


def check(binary, disk, told, moment, fate):
    """Starts the engine on a disk that may be left behind at this moment."""
    at = disk.time_of(moment)
    due = {span for when, ids in told.acknowledged if when < at for span in ids}
    ordered = {reason for when, reason in told.restarts if when < at}
    with Engine(binary, SETTINGS, lambda folder: disk.made_up(moment, fate, folder)) as engine:
        try:
            span = {"traceId": ONE_MORE[0], "spanId": ONE_MORE[1], "name": "one more"}
            body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
            url = f"http://{engine.http}/v1/traces"
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=60).close()

            def with_all():
                found = stored(engine)
                return [found] if due <= found.keys() else None

            try:
                [found] = wait_for("what was acknowledged in the store", with_all)
            except AssertionError as error:
                missing = due - stored(engine).keys()
                raise AssertionError(f"{len(missing)} of {len(due)} acknowledged spans are lost ({error})") from error
            twice = [one for one, texts in found.items() if len(texts) > 1]
            assert not twice, f"{len(twice)} spans are in the store twice"
            wrong = [one for one, texts in found.items() if one != ONE_MORE and told.sent.get(one) != texts[0]]
            assert not wrong, f"{len(wrong)} spans are in the store that nobody sent so"
            command = [engine.binary, "history", "--long", "-o", "json", "--api", f"http://{engine.api}"]
            history = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
            forgotten = [reason for reason in ordered if reason not in history]
            assert not forgotten, f"the ledger has forgotten {forgotten}"
        finally:
            if engine.process.poll() is None:
                kept = supervised(engine)
                engine.stop()
                end(kept)
    return len(due)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--disks", type=int, default=48, help="how many are made up")
    chosen = arguments.parse_args()
    chance = random.Random(chosen.seed)
    disk, told = record(chosen.binary, chosen.seed)
    compacted = sum(change.what == "remove" for change in disk.changes)
    print(
        f"recorded {len(disk.changes)} changes of files, {compacted} of them removals; "
        f"{len(told.acknowledged)} requests acknowledged, {told.refused} put off, {len(told.restarts)} restarts ordered"
    )
    failed = 0
    for number in range(chosen.disks):
        # Not all moments are alike: half of them are those of names, which are few.
        moments = disk.moments if number % 2 else [it.at for it in disk.changes if it.what in ("rename", "remove", "name")]
        moment, make = chance.choice(moments), FATES[number // 2 % len(FATES)]
        name = f"disk {number}: {make.__name__}, change {disk.number_of(moment)}"
        try:
            due = check(chosen.binary, disk, told, moment, make(chance))
            print(f"ok   {name}: {due} spans", flush=True)
        except (AssertionError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
    print(f"{chosen.disks - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
