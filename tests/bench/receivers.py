"""What do receivers of OTLP cost? Ours, Rotel, the OpenTelemetry Collector, and a floor, in the same minutes.

Each receiver runs on one core and the generator on the other. What counts is CPU time: spans that were
taken by a CPU-second of the receiver's, read from the kernel. Rounds go over all the receivers, so
that a noisy minute hits all of them; figures are medians of the rounds.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from harness import free_addresses  # noqa: E402: found by the line above

TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE, BOTH_CORES = "0", "1", "0,1"
WARM_S = 0.5
# How long a journal is filled that is then replayed: some tens of its segments.
FILL_S = 2.0
START_DEADLINE_S = 30.0
# How much is written to learn what the disk does by itself: some dozens of the journal's groups.
DISK_PROBE_BYTES, DISK_PROBE_SYNC_BYTES = 256 << 20, 4 << 20

# Rows of the table: the payload (resources in a request), the compression, our journal's durability, and the cores that
# the receiver and the generator have. With both, they are in each other's way, so only CPU time says anything.
ROWS = {
    "sdk": dict(processes=1, compression="none", durability="off"),
    "gateway": dict(processes=16, compression="none", durability="off"),
    # Neither peer keeps anything on disk here, so each is what it is in `sdk`.
    "sdk, journal": dict(processes=1, compression="none", durability="power-loss", peers_of="sdk"),
    "sdk, gzip": dict(processes=1, compression="gzip", durability="off"),
    "sdk, zstd": dict(processes=1, compression="zstd", durability="off"),
    "sdk, two threads": dict(processes=1, compression="none", durability="off", cores=BOTH_CORES),
}
# What takes our time in a row, by profiles (`perf record`) of the daemon of November 2026 on one core of a virtual machine,
# for who wants it faster: not measured by this run.
LIMITS = {
    "sdk": "assembly and analysis take half, most of it waits for memory: a trace comes in several requests, and what is in "
           "flight is more than the caches hold; reading takes three tenths, the kernel a sixth",
    "gateway": "as sdk; reading takes a little more, since every few spans are of another process",
    "sdk, zstd": "as sdk, and decompressing takes an eighth",
}
# The daemon, killed and started again: what its journal holds, brought back.
REPLAY = "sdk, replay"
TRANSPORTS = ["http", "grpc"]
PLAIN = ROWS["sdk"]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid, what="VmRSS"):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) / 1024


class Server:
    """A receiver on one core, from its start until the `with` ends."""

    def __init__(self, name, command, http, grpc, environment=None, api=None):
        self.name, self.command, self.http, self.grpc, self.api = name, command, http, grpc, api
        self.cores = SERVER_CORE
        self.environment = {**os.environ, **(environment or {})}

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            ["taskset", "-c", self.cores, *self.command],
            stdout=self.log, stderr=self.log, env=self.environment,
        )
        until = time.monotonic() + START_DEADLINE_S
        for address in (self.http, self.grpc):
            host, port = address.split(":")
            while True:
                try:
                    socket.create_connection((host, int(port)), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > until or self.process.poll() is not None:
                        self.log.seek(0)
                        raise SystemExit(f"{self.name} did not start:\n{self.log.read()[-3000:]}")
                    time.sleep(0.05)
        return self

    def kill(self):
        """As an outside hand would: nothing is cleared up."""
        self.process.kill()
        self.process.wait()

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class OurLoad:
    """`rekindle load`."""

    def __init__(self, binary):
        self.binary = binary

    def run(self, transport, address, seconds, row, rate=None):
        command = [
            "taskset", "-c", row.get("cores", LOAD_CORE), self.binary, "load", "--over", transport, "--to", address,
            "--for", f"{seconds}s", "--compression", row["compression"],
            "--processes", str(row["processes"]), "-o", "json",
        ]
        if rate:
            command += ["--rate", str(round(rate))]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return dict(spans=told["spans"], seconds=told["seconds"], p99_ms=told["p99_millis"],
                    errors=told["refused"] + told["broken_connections"])


class Yardstick:
    """Another generator, given as OTLP_LOAD: it takes `load --proto … --addr …` and prints `key=value` pairs."""

    def __init__(self, binary):
        self.binary = binary

    def run(self, transport, address, seconds, row):
        command = [
            "taskset", "-c", row.get("cores", LOAD_CORE), self.binary, "load", "--proto", transport, "--addr", address,
            "--secs", str(seconds), "--warm", "0", "--encoding", row["compression"],
            "--resources", str(row["processes"]), "--pid", str(os.getpid()),
        ]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        values = dict(re.findall(r"(\S+)=(\S+)", told.stdout + told.stderr))
        return dict(spans=int(values["ok"]) * 512, seconds=seconds, p99_ms=float(values["p99_ms"]),
                    errors=int(values["errors"]))


def measure(server, load, transport, row, seconds):
    address = server.http if transport == "http" else server.grpc
    before, began = cpu_seconds(server.process.pid), time.monotonic()
    told = load.run(transport, address, seconds, row)
    spent, wall = cpu_seconds(server.process.pid) - before, time.monotonic() - began
    return dict(
        spans_per_cpu_second=told["spans"] / max(spent, 1 / TICKS),
        spans_per_second=told["spans"] / told["seconds"],
        p99_ms=told["p99_ms"], errors=told["errors"], cores=spent / wall,
        rss_mib=memory_mib(server.process.pid), peak_mib=memory_mib(server.process.pid, "VmHWM"),
    )


def disk_bytes_per_second(folder):
    """What the disk makes durable: writes of a group's size, each with `fdatasync`."""
    block = os.urandom(DISK_PROBE_SYNC_BYTES)
    path = folder / "disk-probe"
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    began = time.monotonic()
    for _ in range(DISK_PROBE_BYTES // DISK_PROBE_SYNC_BYTES):
        os.write(file, block)
        os.fdatasync(file)
    took = time.monotonic() - began
    os.close(file)
    path.unlink()
    return DISK_PROBE_BYTES / took


def ours(binary, folder, durability):
    state = folder / f"state-{durability}"
    shutil.rmtree(state, ignore_errors=True)
    return ours_again(binary, folder, durability, state)


def ours_again(binary, folder, durability, state):
    grpc, http, api = free_addresses(3)
    config = folder / f"{durability}.yaml"
    config.write_text(
        f"state_dir: {state}\n"
        f'listen: {{ grpc: "{grpc}", http: "{http}", api: "{api}" }}\n'
        f"ingest: {{ journal: {{ durability: {durability} }} }}\n"
    )
    return Server("rekindle", [binary, "run", "--config", str(config)], http, grpc, api=api)


def until_it_answers(server):
    """Until the API says something, which is after the replay."""
    until = time.monotonic() + START_DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://{server.api}/api/v1/status", timeout=START_DEADLINE_S) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def replay(binary, load, folder):
    """What a span costs that comes back from the journal when the daemon was killed."""
    state = folder / "state-replay"
    shutil.rmtree(state, ignore_errors=True)
    with ours_again(binary, folder, "power-loss", state) as server:
        told = load.run("http", server.http, FILL_S, PLAIN)
        server.kill()
    began = time.monotonic()
    with ours_again(binary, folder, "power-loss", state) as server:
        until_it_answers(server)
        wall, spent = time.monotonic() - began, cpu_seconds(server.process.pid)
        figures = dict(
            spans_per_cpu_second=told["spans"] / spent, spans_per_second=told["spans"] / wall,
            p99_ms=0.0, errors=told["errors"], cores=spent / wall,
            rss_mib=memory_mib(server.process.pid), peak_mib=memory_mib(server.process.pid, "VmHWM"),
        )
    shutil.rmtree(state, ignore_errors=True)
    return figures


def floor(binary, cores):
    (address,) = free_addresses(1)
    if binary.name == "floor":
        command = [binary, "walk", address]
    else:
        threads = str(len(cores.split(",")))
        command = [binary, "floor", "--work", "walk", "--addr", address, "--threads", threads]
    return Server("floor", command, address, address)


def rotel(binary):
    grpc, http = free_addresses(2)
    command = [binary, "start", "--exporter", "blackhole", "--otlp-grpc-endpoint", grpc, "--otlp-http-endpoint", http]
    return Server("rotel", command, http, grpc)


def collector(binary, folder):
    grpc, http = free_addresses(2)
    config = folder / "collector.yaml"
    config.write_text(
        "receivers:\n  otlp:\n    protocols:\n"
        f"      grpc: {{ endpoint: '{grpc}' }}\n      http: {{ endpoint: '{http}' }}\n"
        "exporters:\n  nop:\n"
        "service:\n  telemetry: { metrics: { level: none } }\n  pipelines:\n"
        "    traces: { receivers: [otlp], exporters: [nop] }\n"
    )
    return Server("collector", [binary, "--config", str(config)], http, grpc, {"GOMAXPROCS": "1"})


def cells(arguments, load, folder):
    """One figure per row, transport, receiver and round."""
    for round_number in range(arguments.runs):
        for name, row in ROWS.items():
            if arguments.row and name not in arguments.row:
                continue
            cores = row.get("cores", SERVER_CORE)
            servers = [floor(arguments.floor, cores), ours(arguments.rekindle, folder, row["durability"])]
            # The peers have one core: what they gain by a second isn't asked. Rotel reads gzip, and no zstd, over either.
            asked = cores == SERVER_CORE and "peers_of" not in row
            if arguments.rotel and row["compression"] != "zstd" and asked:
                servers.append(rotel(arguments.rotel))
            if arguments.collector and asked:
                servers.append(collector(arguments.collector, folder))
            disk = disk_bytes_per_second(folder) if row["durability"] != "off" else None
            for server in servers:
                plain = server.name == "floor"
                sent = {**row, "compression": "none"} if plain else row
                server.cores = cores
                with server:
                    for transport in TRANSPORTS:
                        measure(server, load, transport, sent, WARM_S)
                        figures = measure(server, load, transport, sent, arguments.seconds)
                        yield dict(row=name, transport=transport, receiver=server.name, round=round_number,
                                   disk_bytes_per_second=disk, **figures)
                print(f"round {round_number + 1} of {arguments.runs}: {name}: {server.name}", file=sys.stderr)
        if not arguments.row or REPLAY in arguments.row:
            figures = replay(arguments.rekindle, load, folder)
            yield dict(row=REPLAY, transport="–", receiver="rekindle", round=round_number,
                       disk_bytes_per_second=None, **figures)


def medians(found):
    """The median of each figure over the rounds."""
    groups = {}
    for cell in found:
        groups.setdefault((cell["row"], cell["transport"], cell["receiver"]), []).append(cell)
    figures = [key for key in found[0] if key not in ("row", "transport", "receiver", "round", "disk_bytes_per_second")]
    table = []
    for (row, transport, receiver), group in groups.items():
        entry = dict(row=row, transport=transport, receiver=receiver, rounds=len(group))
        for figure in figures:
            entry[figure] = statistics.median(cell[figure] for cell in group)
        if group[0]["disk_bytes_per_second"]:
            entry["disk_bytes_per_second"] = statistics.median(cell["disk_bytes_per_second"] for cell in group)
        table.append(entry)
    return table


def show(table):
    by = {(entry["row"], entry["transport"], entry["receiver"]): entry for entry in table}
    header = ("payload", "over", "receiver", "M spans/CPU-s", "of floor", "× best peer", "M spans/s", "cores", "p99 ms",
              "MiB", "errors")
    lines = [header]
    for (row, transport, receiver), entry in by.items():
        speed = entry["spans_per_cpu_second"]
        least = by.get((row, transport, "floor"))
        like = ROWS.get(row, {}).get("peers_of", row)
        peers = [by[key]["spans_per_cpu_second"] for key in by
                 if key[:2] == (like, transport) and key[2] in ("rotel", "collector")]
        mine = receiver == "rekindle"
        lines.append((
            row, transport, receiver, f"{speed / 1e6:.2f}",
            f"{speed / least['spans_per_cpu_second']:.2f}" if least else "–",
            f"{speed / max(peers):.1f}" if mine and peers else "–",
            f"{entry['spans_per_second'] / 1e6:.2f}", f"{entry['cores']:.2f}", f"{entry['p99_ms']:.1f}", f"{entry['peak_mib']:.0f}",
            f"{entry['errors']:.0f}",
        ))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = [text.ljust(width) if column < 3 else text.rjust(width)
                 for column, (text, width) in enumerate(zip(line, widths))]
        print("  ".join(cells).rstrip())
    def ours_in(row, transport):
        return by.get((row, transport, "rekindle"), {}).get("spans_per_cpu_second")

    print()
    for transport in TRANSPORTS:
        one, two = ours_in("sdk", transport), ours_in("sdk, two threads", transport)
        if one and two:
            print(f"two threads over {transport}: a CPU-second does {two / one:.2f} of what it does with one")
    received, replayed = ours_in("sdk", "http"), ours_in(REPLAY, "–")
    if received and replayed:
        print(f"replay: a span takes {received / replayed:.2f} times the CPU time that receiving it took with the journal off")
    for row, limit in LIMITS.items():
        if ours_in(row, "http"):
            print(f"{row}, by profiles of November 2026: {limit}")
    disks = [entry["disk_bytes_per_second"] for entry in table if entry.get("disk_bytes_per_second")]
    if disks:
        print(f"the disk by itself: {statistics.median(disks) / 1e6:.0f} MB/s in synced writes of "
              f"{DISK_PROBE_SYNC_BYTES >> 20} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for program in ("rekindle", "floor"):
        parser.add_argument(f"--{program}", type=pathlib.Path, required=True)
    for program in ("rotel", "collector"):
        parser.add_argument(f"--{program}", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5, help="rounds over all receivers (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each is measured in a round (2)")
    parser.add_argument("--row", action="append", choices=[*ROWS, REPLAY], help="only this row; several are allowed")
    parser.add_argument("--folder", type=pathlib.Path, help="where the journal writes (a temporary folder)")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    arguments = parser.parse_args()
    other = os.environ.get("OTLP_LOAD")
    load = Yardstick(other) if other else OurLoad(arguments.rekindle)
    if other:
        arguments.floor = pathlib.Path(other)
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-", dir=arguments.folder) as folder:
        table = medians(list(cells(arguments, load, pathlib.Path(folder))))
    if arguments.output == "json":
        json.dump(table, sys.stdout, indent=2)
        print()
    else:
        show(table)


if __name__ == "__main__":
    main()
