"""Writes the tables that `analysis/tests/methods.rs` checks the published ranking methods against.

Each formula is computed from requests, one by one, as SciPy and NumPy have it: the coefficients as distances of
Boolean vectors, the clustering by `linkage` and its cut by `fcluster`, what a split tells as mutual information; sets that
are frequent are mlxtend's. Run it with any recent Python:

    python -m venv .venv && .venv/bin/pip install scipy==1.17.1 mlxtend==0.25.0
    .venv/bin/python notebooks/reference_methods.py analysis/tests/reference

The output is the same on every run; the tables are committed, so that tests need no Python.
"""

import pathlib
import random
import sys

import numpy as np
import pandas as pd
from mlxtend.frequent_patterns import fpgrowth
from scipy import stats
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial import distance

from reference_table import write


def requests(ef, ep, f, p):
    """Whether each request touched the component, and whether it failed."""
    touched = np.array([True] * ef + [False] * (f - ef) + [True] * ep + [False] * (p - ep))
    return touched, np.array([True] * f + [False] * p)


def formulas(ef, ep, f, p):
    touched, failed = requests(ef, ep, f, p)
    passed = ~failed
    of_failed, of_passed = touched[failed].mean(), touched[passed].mean()
    wrong = np.count_nonzero(touched != failed)
    return [
        1 - distance.cosine(touched.astype(float), failed.astype(float)),
        of_failed / (of_failed + of_passed),
        1 - distance.jaccard(touched, failed),
        np.count_nonzero(touched & failed) ** 2 / wrong,
        np.count_nonzero(touched & failed) - np.count_nonzero(touched & passed) / (np.count_nonzero(passed) + 1),
        failed[touched].mean(),
        1 - distance.jaccard(touched, failed),
    ]


def information(ef, ep, f, p):
    """Bits that touching tells about failing."""
    touched, failed = requests(ef, ep, f, p)
    joint = np.array([[np.count_nonzero((touched == t) & (failed == e)) for e in (0, 1)] for t in (0, 1)])
    bits = lambda counts: stats.entropy(np.ravel(counts), base=2)
    return bits(joint.sum(axis=0)) + bits(joint.sum(axis=1)) - bits(joint)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    counts = [(8, 8, 16, 100), (1, 0, 3, 7), (16, 100, 20, 400), (5, 1, 5, 1000), (40, 37, 90, 91), (2, 999, 3, 1000)]
    write(
        folder, "formulas.csv",
        ["ef", "ep", "f", "p", "ochiai", "tarantula", "jaccard", "dstar", "op2", "barinel", "trace_rca", "bits"],
        [(*c, *(repr(float(x)) for x in formulas(*c)), repr(float(information(*c)))) for c in counts],
    )
    rng = random.Random(20261121)
    rows = []
    for n in (2, 3, 5, 8, 13):
        similar = np.eye(n)
        for i in range(n):
            for j in range(i):
                similar[i, j] = similar[j, i] = rng.random()
        merges = linkage(distance.squareform(1 - similar), method="average")
        above = [repr(float(similar[i, j])) for i in range(n) for j in range(i + 1, n)]
        # Who is with the last one, cut at each of these similarities.
        cuts = [0.75, 0.5, 0.45, 0.4, 0.3]
        flat = [fcluster(merges, 1 - cut, criterion="distance") for cut in cuts]
        with_last = ["+".join(str(i) for i in range(n - 1) if of[i] == of[n - 1]) for of in flat]
        rows.append((n, " ".join(above), " ".join(repr(1 - float(merge[2])) for merge in merges),
                     " ".join(str(int(merge[3])) for merge in merges),
                     " ".join(map(repr, cuts)), " ".join(of or "-" for of in with_last)))
    write(folder, "upgma.csv", ["members", "similarities", "merged_at", "sizes", "cuts", "with_last"], rows)
    write(folder, "itemsets.csv", ["traces", "sets"], [itemsets(rng) for _ in range(12)])


def itemsets(rng):
    """Traces of services, abnormal with `!`, and of the sets that a tenth of the abnormal ones contain the closed ones,
    each with support and confidence."""
    services = rng.randint(2, 8)
    traces = []
    for _ in range(rng.randint(5, 40)):
        touched = [s for s in range(services) if rng.random() < 0.6] or [0]
        traces.append((touched, rng.random() < (0.8 if 1 in touched else 0.2)))
    traces.append(([0, 1], True))
    table = pd.DataFrame([[s in touched for s in range(services)] for touched, _ in traces])
    abnormal = np.array([bad for _, bad in traces])
    found = []
    for support, members in fpgrowth(table[abnormal].reset_index(drop=True), min_support=0.1).itertuples(index=False):
        within = table[list(members)].all(axis=1).to_numpy()
        # Closed: whatever else these traces have in common is in it.
        if set(np.flatnonzero(table[within].all(axis=0))) == set(members):
            shares = [float(support), float(abnormal[within].mean())]
            found.append((sorted(map(int, members)), shares))
    told = [f"{'+'.join(map(str, members))} {a!r} {b!r}" for members, (a, b) in sorted(found)]
    return [
        ";".join("+".join(map(str, touched)) + ("!" if bad else "") for touched, bad in traces),
        ";".join(told),
    ]


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
