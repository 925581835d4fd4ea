"""What one sees who types `wavesim.` and a tab."""

import subprocess
import sys

import wavesim


def test_dir_shows_what_is_imported_on_demand_and_loads_nothing() -> None:
    program = "import sys, wavesim; print(*dir(wavesim)); print('torch' in sys.modules)"
    names, torch = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {*wavesim.__all__, "__version__"} <= set(names.split()) and torch == "False"
    assert all(hasattr(wavesim, name) for name in dir(wavesim))
