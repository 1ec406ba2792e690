"""Executes notebooks, each from the top, and fails with the first cell that does."""

import sys

import nbformat
from nbclient import NotebookClient


def check(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            sys.exit(f"{path} is stored with outputs: strip them (jupyter nbconvert --clear-output --inplace {path})")
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = sum(bool(cell.get("outputs")) for cell in notebook.cells)
    if not shown:
        sys.exit(f"{path} showed nothing")
    print(f"{path}: {len(notebook.cells)} cells, {shown} with something to show")


for path in sys.argv[1:]:
    check(path)
