"""Writes the table of whole decision trees that `analysis/tests/methods.rs` checks C4.5 against.

Weka's J48 is an independent implementation of C4.5 (release 8): gain ratio, collapsing, pruning by a leaf or by the larger
branch. It runs as its authors deliver it (weka-stable 3.8.6 and the jars that it depends on, from Maven Central):

    mvn dependency:copy-dependencies -DoutputDirectory=JARS    # of a project that depends on weka-stable
    python notebooks/reference_trees.py JARS analysis/tests/reference

The output is the same on every run; the table is committed, so that tests need neither Python nor Java.
"""

import pathlib
import random
import re
import subprocess
import sys
import tempfile

from reference_table import write

SETS = 40


def requests(rng):
    """Rows of what was touched, whether the request failed, and how many were like that."""
    features = rng.randint(3, 9)
    culprits = rng.sample(range(features), rng.randint(1, 2))
    hit, background = rng.choice([1, 0.9, 0.6]), rng.choice([0, 0.02, 0.2])
    kinds = {}
    for _ in range(rng.randint(6, 60)):
        touched = tuple(f for f in range(features) if rng.random() < rng.choice([0.2, 0.5, 0.8]))
        failed = rng.random() < (hit if all(c in touched for c in culprits) else background)
        kinds[touched, failed] = kinds.get((touched, failed), 0) + rng.choice([1, 1, 2, 7])
    return features, sorted(kinds.items())


def arff(features, kinds):
    lines = ["@relation requests", *(f"@attribute f{f} {{t,f}}" for f in range(features)), "@attribute end {failed,ok}", "@data"]
    for (touched, failed), count in kinds:
        cells = ["t" if f in touched else "f" for f in range(features)] + ["failed" if failed else "ok"]
        lines += [",".join(cells)] * count
    return "\n".join(lines) + "\n"


def leaf(text):
    """`ok (40.0/3.0)` is 3/40: failed and good requests."""
    found = re.fullmatch(r"(failed|ok) \(([\d.]+)(?:/([\d.]+))?\)", text)
    wrong = int(float(found[3] or 0))
    ends = [int(float(found[2])) - wrong, wrong]
    return "/".join(map(str, ends if found[1] == "failed" else ends[::-1]))


def tree(lines, depth=0):
    """The lines of one subtree, which are taken away, as `(feature with without)`."""
    text = lines[0].removeprefix("|   " * depth)
    if text.startswith(": "):
        return leaf(lines.pop(0)[2:])
    feature = re.match(r"f(\d+) = ", text)[1]
    branches = []
    for _ in "tf":
        found = re.fullmatch(r"f\d+ = ([tf])(?:: (.*))?", lines.pop(0).removeprefix("|   " * depth))
        branches.append(leaf(found[2]) if found[2] else tree(lines, depth + 1))
    return f"({feature} {branches[0]} {branches[1]})"


def weka(jars, text):
    with tempfile.NamedTemporaryFile("w", suffix=".arff") as file:
        file.write(text)
        file.flush()
        command = ["java", "-cp", f"{jars}/*", "weka.classifiers.trees.J48", "-t", file.name, "-no-cv", "-v"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = out.split("------------------\n", 1)[1].split("Number of Leaves", 1)[0].splitlines()
    return tree([line for line in lines if line])


def main(jars, folder):
    rng = random.Random(20261122)
    rows = []
    for _ in range(SETS):
        features, kinds = requests(rng)
        cells = [f"{' '.join(map(str, touched))}{'!' if failed else ':'}{count}" for (touched, failed), count in kinds]
        rows.append((features, ";".join(cells), weka(jars, arff(features, kinds))))
    write(folder, "c45.csv", ["features", "requests", "tree"], rows)


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
