"""Runs the notebook and writes it back with its outputs: ``make notebook``."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("walkthrough.ipynb")
CELL_SECONDS = 300


def execute(path: Path) -> None:
    """Run all cells, and keep what they print and draw, but not when they did."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        coalesce_streams=True,  # of a progress bar, only its end
        record_timing=False,
    )
    client.execute()
    notebook.metadata.language_info = {"name": "python"}  # whichever version it was
    nbformat.write(notebook, path)


if __name__ == "__main__":
    execute(Path(sys.argv[1]) if sys.argv[1:] else NOTEBOOK)
