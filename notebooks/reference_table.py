"""For the scripts beside it: a table that tests read, the same on every run and system."""

import csv


def write(folder, name, header, rows):
    with open(folder / name, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
