"""Execute a notebook's text and store it, with its outputs, beside: NAME.py -> NAME.ipynb.

python scripts/execute_notebook.py notebooks/whole_path.py
"""

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

source = Path(sys.argv[1])
notebook = jupytext.read(source)
NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
nbformat.write(notebook, source.with_suffix(".ipynb"))
