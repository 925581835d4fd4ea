"""The notebooks are executed from their texts, and the stored ones are of those texts."""

from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

SOURCES = {path.stem: path for path in (Path(__file__).parents[1] / "notebooks").glob("*.py")}
PRINTED = {"whole_path": ("phi_J", "round 2"), "lens": ("rays meet at (1.15", "wavelengths from where the rays meet")}


@pytest.mark.parametrize("name", SOURCES)
def test_the_notebook_runs_from_top_to_bottom(name: str) -> None:
    notebook = jupytext.read(SOURCES[name])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert all(words in printed for words in PRINTED[name])


@pytest.mark.parametrize("name", SOURCES)
def test_the_stored_notebook_is_executed_and_of_the_same_text(name: str) -> None:
    stored, text = jupytext.read(SOURCES[name].with_suffix(".ipynb")), jupytext.read(SOURCES[name])
    assert [cell.source for cell in stored.cells] == [cell.source for cell in text.cells]
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
