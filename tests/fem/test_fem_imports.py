"""Every order of importing the engines' libraries works, and none is needed to import the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

SOLVE = """
import numpy as np
from wavesim.config import WavesConfig
from wavesim.fem import Pulse, simulate, uniform
run = simulate(WavesConfig(grid=16, frames=2, elements=4, degree=2), uniform(), Pulse((0.5, 0.5), 0.1))
assert np.isfinite(run.pressure).all()
import h5py, os, tempfile
with tempfile.TemporaryDirectory() as folder, h5py.File(os.path.join(folder, "a.h5"), "w") as file:
    file["a"] = run.pressure
    assert file["a"][0].shape == (16, 16)
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "first",
    [
        "import wavesim.fem",
        "import h5py",
        "import torch",
        "import wavesim.fem._dolfinx\nimport h5py, torch",
        "import scipy",
    ],
)
def test_any_import_order_solves_and_writes(first):
    result = python(f"{first}\n{SOLVE}")
    assert result.returncode == 0, result.stderr


def test_the_package_is_there_without_dolfinx_and_says_how_to_get_it():
    result = python(
        "import sys; sys.modules['dolfinx'] = None\n"
        "import wavesim, wavesim.fem\n"
        "from wavesim.config import WavesConfig\n"
        "from wavesim.errors import WavesimError\n"
        "for name in wavesim.fem.__all__: getattr(wavesim.fem, name)\n"
        "try: wavesim.fem.simulate(WavesConfig(), wavesim.fem.uniform(), wavesim.fem.Pulse((0.5, 0.5), 0.05))\n"
        "except WavesimError as error: print(error)\n"
    )
    assert result.returncode == 0, result.stderr
    assert "dolfinx is not installed" in result.stdout and "make setup" in result.stdout


def test_importing_the_package_loads_no_engine():
    result = python("import sys, wavesim.fem; print(*{'dolfinx', 'scipy', 'torch', 'mpi4py'} & set(sys.modules))")
    assert result.returncode == 0 and result.stdout.strip() == "", result
