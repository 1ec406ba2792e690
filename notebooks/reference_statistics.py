"""Writes the tables that `analysis/stats/tests/reference.rs` checks against.

An independent implementation (SciPy and statsmodels) computes each statistic for many arguments, the
awkward ones among them. Run it with any recent Python:

    python -m venv .venv && .venv/bin/pip install scipy==1.17.1 statsmodels==0.15.0
    .venv/bin/python notebooks/reference_statistics.py analysis/stats/tests/reference

The output is the same on every run; the tables are committed, so that tests need no Python.
"""

import pathlib
import random
import sys

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from reference_table import write


def main(folder):
    rng = random.Random(20261121)
    shares = [(0, 1), (1, 1), (0, 50), (50, 50), (1, 1000), (3, 7), (81, 263), (999999, 1000000)]
    write(
        folder, "wilson.csv", ["hits", "total", "confidence", "low", "high"],
        [
            (k, n, c, repr(float(i.low)), repr(float(i.high)))
            for k, n in shares
            for c in (0.8, 0.95, 0.999)
            for i in [stats.binomtest(k, n).proportion_ci(c, method="wilson")]
        ],
    )
    pairs = [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((10, 10), (0, 20)), ((0, 10), (0, 10)),
             ((500, 1000), (3, 900)), ((5, 56), (0, 29)), ((1, 2), (1, 2))]
    write(
        folder, "newcombe.csv", ["hits1", "total1", "hits2", "total2", "low", "high"],
        [
            (*a, *b, repr(float(low)), repr(float(high)))
            for a, b in pairs
            for low, high in [confint_proportions_2indep(*a, *b, method="newcomb", compare="diff")]
        ],
    )
    tables = pairs + [((33, 51), (17, 202)), ((7, 140), (5, 5000)), ((3, 3), (0, 600)), ((2, 5), (400, 1000)),
                      ((300, 100000), (200, 100000)), ((5000, 1000000), (4000, 1000000)), ((1, 1), (0, 1)),
                      # Whose first term is too small for a double.
                      ((3, 2000), (1000, 2000)), ((30, 100000), (50000, 100000)), ((1, 5000), (4999, 5000)),
                      ((999990, 1000000), (999995, 1000000)), ((0, 3), (5000, 5000)), ((5000, 9000), (5000, 9000)),
                      ((40, 1000), (60, 1000))]
    chances = [[0.03], [0.0375, 0.0019], [0.5, 0.5, 0.5], [1.0, 1.0], [1e-12, 0.9], [0.2] * 12, [1e-40, 1e-30, 0.4]]
    write(
        folder, "combined.csv", ["chances", "together"],
        [(" ".join(map(repr, c)), repr(float(stats.combine_pvalues(c, method="fisher").pvalue))) for c in chances],
    )
    write(
        folder, "fisher.csv", ["hits1", "total1", "hits2", "total2", "p_greater"],
        [
            (*a, *b, repr(float(stats.hypergeom.sf(a[0] - 1, a[1] + b[1], a[0] + b[0], a[1]))))
            for a, b in tables
        ],
    )
    beliefs = [(0.5, 0.5), (1, 1), (2, 5), (0.5, 1000.5), (80, 3), (3000, 7000), (1.5, 40)]
    write(
        folder, "beta.csv", ["a", "b", "probability", "quantile"],
        [
            (a, b, p, repr(float(stats.beta.ppf(p, a, b))))
            for a, b in beliefs
            for p in (0.001, 0.05, 0.5, 0.95, 0.999)
        ],
    )
    write(
        folder, "chi_squared.csv", ["degrees", "probability", "quantile"],
        [
            (k, p, repr(float(stats.chi2.ppf(p, k))))
            for k in (1, 2, 3, 7, 30, 400)
            for p in (0.001, 0.05, 0.5, 0.995, 0.999999)
        ],
    )
    write(
        folder, "normal.csv", ["probability", "quantile"],
        [(p, repr(float(stats.norm.ppf(p)))) for p in (1e-9, 0.001, 0.025, 0.2, 0.5, 0.9, 0.975, 0.9999)],
    )
    rows = []
    for n, m, shift, decimals in [(2, 2, 0, 6), (4, 5, 3, 6), (4, 20, 1, 6), (15, 12, 0.5, 6), (20, 20, -0.5, 6),
                                  (40, 60, 0.3, 6), (30, 30, 0, 0), (100, 8, 0.5, 0), (21, 21, 1, 6)]:
        first = [round(rng.gauss(shift, 1), decimals) for _ in range(n)]
        second = [round(rng.gauss(0, 1), decimals) for _ in range(m)]
        tied = len(set(first + second)) < n + m
        method = "exact" if not tied and max(n, m) <= 20 else "asymptotic"
        found = stats.mannwhitneyu(first, second, alternative="greater", method=method)
        rows.append((" ".join(map(repr, first)), " ".join(map(repr, second)),
                     repr(float(found.statistic)), repr(float(found.pvalue))))
    write(folder, "rank_sum.csv", ["first", "second", "u", "p_greater"], rows)
    rows = []
    for m in (1, 2, 10, 25):
        p = [round(rng.random() ** 3, 6) for _ in range(m)]
        adjusted = stats.false_discovery_control(p, method="bh")
        rows.append((" ".join(map(repr, p)), " ".join(repr(float(x)) for x in adjusted)))
    write(folder, "benjamini_hochberg.csv", ["p", "adjusted"], rows)
    write(
        folder, "student.csv", ["degrees", "tails", "quantile"],
        [
            (d, p, repr(float(stats.t.isf(p / 2, d))))
            for d in (1, 2, 3, 5.5, 17, 1000, 250000)
            for p in (0.3, 0.05, 0.001, 1e-6)
        ],
    )
    rows = []
    # Powers of two of nanoseconds: far enough apart for the histogram's buckets.
    for n, m, shift in [(1, 1, 3), (3, 40, 0), (40, 3, 2), (50, 60, 0.5), (200, 200, 0), (30, 30, -2)]:
        before = [round(22 + rng.gauss(0, 2)) for _ in range(n)]
        now = [round(22 + shift + rng.gauss(0, 2)) for _ in range(m)]
        found = stats.ks_2samp(before, now, alternative="greater")
        rows.append((" ".join(map(str, before)), " ".join(map(str, now)), repr(float(found.statistic))))
    write(folder, "slower_share.csv", ["log2_before", "log2_now", "share"], rows)
    write(
        folder, "wilson_one_sided.csv", ["hits", "total", "confidence", "low", "high"],
        [
            (k, n, c, repr(float(low)), repr(float(high)))
            for k, n in shares
            for c in (0.8, 0.95, 0.999)
            for low in [stats.binomtest(k, n, alternative="greater").proportion_ci(c, method="wilson").low]
            for high in [stats.binomtest(k, n, alternative="less").proportion_ci(c, method="wilson").high]
        ],
    )
    write(
        folder, "beta_cdf.csv", ["a", "b", "x", "cdf", "mean"],
        [
            (a, b, x, repr(float(stats.beta.cdf(x, a, b))), repr(float(stats.beta.mean(a, b))))
            for a, b in beliefs
            for x in (0.0005, 0.02, 0.31, 0.9)
        ],
    )
    rows = []
    for n, decimals in [(2, 3), (3, 3), (20, 3), (21, 0), (500, 3)]:
        reference = [round(rng.gauss(5, 3), decimals) for _ in range(n)]
        value = round(rng.gauss(9, 5), 3)
        z = (value - np.median(reference)) / stats.median_abs_deviation(reference, scale="normal")
        rows.append((value, " ".join(map(repr, reference)), repr(float(z))))
    write(folder, "robust_z.csv", ["value", "reference", "z"], rows)
    rows = []
    for blocks, share, burst in [(2, 0.3, 1), (10, 0.1, 1), (60, 0.01, 1), (60, 0.01, 4), (200, 0.5, 2)]:
        counts = []
        for _ in range(blocks):
            requests = rng.randint(20, 200)
            bad = sum(burst for _ in range(requests // burst) if rng.random() < share)
            counts.append((bad, requests - bad))
        # Pearson's X² of the table, by its degrees of freedom.
        found = stats.chi2_contingency(counts, correction=False)
        rows.append((" ".join(f"{bad}/{ok}" for bad, ok in counts), repr(float(found.statistic / found.dof))))
    write(folder, "dispersion.csv", ["bad_ok", "index"], rows)
    rows = []
    rises = [0.01, 0.025, 0.063, 0.158, 0.396, 0.99]
    for p0, p, slices, most in [(0.001, 0.001, 40, 3), (0.001, 0.05, 60, 1), (0.02, 0.02, 200, 30), (0.1, 0.6, 5, 9)]:
        counts, bets = [], [0.0] * len(rises)
        for _ in range(slices):
            n = rng.randint(1, most)
            bad = sum(rng.random() < p for _ in range(n))
            counts.append((bad, n - bad))
            for at, rise in enumerate(rises):
                p1 = p0 + (1 - p0) * rise
                gain = stats.binom.logpmf(bad, n, p1) - stats.binom.logpmf(bad, n, p0)
                bets[at] = (bets[at] + n) * np.exp(gain)
        rows.append((p0, " ".join(f"{bad}/{ok}" for bad, ok in counts), repr(float(np.mean(bets)))))
    write(folder, "detector.csv", ["baseline", "bad_ok", "value"], rows)
    rows = []
    for seconds, mean, clump, silent in [(400, 3, 1, 12), (900, 0.2, 1, 250), (1500, 1, 4, 60), (1000, 40, 1, 8)]:
        counts = [
            clump * int(stats.poisson.ppf(rng.random(), mean / clump)) for _ in range(seconds)
        ]
        came = np.flatnonzero(counts)
        last, pause = came[-1], np.diff(came).max()
        blocks = np.add.reduceat(counts, range(0, seconds, 10))[: last // 10][-90:]
        differences = np.diff(blocks)
        phi = max(1, (differences @ differences) / (2 * len(differences)) / blocks.mean())
        rate = min(
            max(0, np.sqrt(part.sum() / phi) - stats.norm.ppf(0.95) / 2) ** 2 * phi / (10 * len(part))
            for part in (blocks, blocks[-12:])
        )
        # The likelihood of silence under the rate, from each second on that it may have begun in.
        none = stats.poisson.pmf(0, rate / phi)
        evidence = sum(none ** -float(s) for s in range(1, silent - pause + 1))
        text = " ".join(map(str, counts[: last + 1]))
        rows.append((text, silent, repr(float(rate)), repr(float(evidence))))
    write(folder, "arrivals.csv", ["a_second", "silent", "rate", "evidence"], rows)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
