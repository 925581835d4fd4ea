"""The README's example of waves of one's own runs as it stands there."""

import re
from pathlib import Path

import numpy as np


def test_the_readmes_example_runs_and_something_is_heard():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    found = re.search(r"## Waves of your own\n\n```python\n(.*?)```", readme, re.S)
    assert found
    names: dict = {}
    exec(found.group(1), names)
    heard = names["traces"].pressure
    assert np.isfinite(heard).all() and 1e-3 < np.abs(heard).max() < 1
    assert np.abs(heard[names["traces"].times < 0.3]).max() < 1e-3 * np.abs(heard).max()  # nothing before it can arrive
