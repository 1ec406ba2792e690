"""Called by `endure`: how does the daemon stand a load that never lets up?

First it is asked how much it takes, as fast as answers come. Then it gets a share of that for minutes on end, with its
journal at the default durability, and says at each minute what it holds in memory and how long answers took. The load is
`rekindle load`, whose times count from when a request was due: an answer that is late makes the next ones late, too.
"""

import argparse
import pathlib
import sys
import tempfile
import time

from receivers import ROWS, OurLoad, cpu_seconds, disk_bytes_per_second, memory_mib, ours

ROW = ROWS["sdk, journal"]
# How long it is asked what it takes, and before that, until it has made its tables.
PROBE_S, WARM_S = 10.0, 5.0
# From then on memory should be flat: what is remembered for a time (traces under way, windows) has been filled once.
SETTLED_MINUTES = 3
# What memory may grow by after that, in all: an allocator keeps some pages more or less.
FLAT = 1.10
P99_MS = 50.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rekindle", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=int, default=10, help="how long (10)")
    parser.add_argument("--share", type=float, default=0.8, help="of what it takes (0.8)")
    parser.add_argument("--over", choices=["http", "grpc"], default="http")
    parser.add_argument("--folder", type=pathlib.Path, help="where the journal writes (a temporary folder)")
    arguments = parser.parse_args()
    load = OurLoad(arguments.rekindle)
    minutes = []
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-", dir=arguments.folder) as folder:
        folder = pathlib.Path(folder)
        disk = disk_bytes_per_second(folder)
        with ours(arguments.rekindle, folder, ROW["durability"]) as server:
            address = server.http if arguments.over == "http" else server.grpc
            load.run(arguments.over, address, WARM_S, ROW)
            told = load.run(arguments.over, address, PROBE_S, ROW)
            most = told["spans"] / told["seconds"]
            rate = most * arguments.share
            print(f"takes {most / 1e6:.2f} million spans a second; the disk by itself {disk / 1e6:.0f} MB/s in synced writes")
            print(f"{'minute':>6}  {'spans/s':>9}  {'of rate':>7}  {'cores':>5}  {'p99 ms':>6}  {'MiB':>5}  errors")
            for minute in range(1, arguments.minutes + 1):
                before, began = cpu_seconds(server.process.pid), time.monotonic()
                told = load.run(arguments.over, address, 60.0, ROW, rate)
                wall = time.monotonic() - began
                speed, cores = told["spans"] / told["seconds"], (cpu_seconds(server.process.pid) - before) / wall
                minutes.append(dict(kept=speed / rate, memory=memory_mib(server.process.pid), **told))
                print(f"{minute:>6}  {speed:>9.0f}  {speed / rate:>7.2f}  {cores:>5.2f}  {told['p99_ms']:>6.1f}  "
                      f"{minutes[-1]['memory']:>5.0f}  {told['errors']}", flush=True)
    first = min(SETTLED_MINUTES, len(minutes) - 1)
    settled = minutes[first:]
    growth = max(it["memory"] for it in settled) / settled[0]["memory"]
    worst = max(it["p99_ms"] for it in minutes)
    checks = [
        (f"memory grew by {growth - 1:.0%} after minute {first + 1} (at most {FLAT - 1:.0%})", growth <= FLAT),
        (f"the worst minute's p99 is {worst:.1f} ms (at most {P99_MS:.0f})", worst <= P99_MS),
        ("nothing was refused, and no connection broke", all(it["errors"] == 0 for it in minutes)),
        ("the rate was kept", all(it["kept"] >= 0.99 for it in minutes)),
    ]
    for what, holds in checks:
        print(f"{'holds' if holds else 'DOES NOT HOLD'}: {what}")
    sys.exit(0 if all(holds for _, holds in checks) else 1)


if __name__ == "__main__":
    main()
