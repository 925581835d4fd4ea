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


def test_a_name_stays_what_it_is_when_all_modules_are_loaded() -> None:
    """A module of the same name as a function would take its place once it is imported."""
    program = """
import importlib, pkgutil, types
from wavesim import fem
for module in pkgutil.iter_modules(fem.__path__):
    importlib.import_module(f"wavesim.fem.{module.name}")
print([name for name in fem.__all__ if isinstance(getattr(fem, name), types.ModuleType)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
