"""The notebook is executed from its text, and the stored one is of that text."""

from pathlib import Path

import jupytext
from nbclient import NotebookClient

SOURCE = Path(__file__).parents[1] / "notebooks" / "whole_path.py"


def test_the_notebook_runs_from_top_to_bottom() -> None:
    notebook = jupytext.read(SOURCE)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "phi_J" in printed and "round 2" in printed


def test_the_stored_notebook_is_executed_and_of_the_same_text() -> None:
    stored, text = jupytext.read(SOURCE.with_suffix(".ipynb")), jupytext.read(SOURCE)
    assert [cell.source for cell in stored.cells] == [cell.source for cell in text.cells]
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
