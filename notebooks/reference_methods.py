"""Writes the tables that `analysis/tests/methods.rs` checks the published ranking methods against.

Each formula is computed from requests, one by one, as SciPy and NumPy have it: the coefficients as distances of
Boolean vectors, the clustering by `linkage`, what a split tells as mutual information. Run it with any recent Python:

    python -m venv .venv && .venv/bin/pip install scipy==1.17.1
    .venv/bin/python notebooks/reference_methods.py analysis/tests/reference

The output is the same on every run; the tables are committed, so that tests need no Python.
"""

import pathlib
import random
import sys

import numpy as np
from scipy import stats
from scipy.cluster.hierarchy import linkage
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
        stats.hmean([of_failed, failed[touched].mean()]),
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
        rows.append((n, " ".join(above), " ".join(repr(1 - float(merge[2])) for merge in merges),
                     " ".join(str(int(merge[3])) for merge in merges)))
    write(folder, "upgma.csv", ["members", "similarities", "merged_at", "sizes"], rows)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
