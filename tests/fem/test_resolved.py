"""Resolved packings: one call against a rectangle's own mesh, frames free of sources, and datasets of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from exact.meshes import warped
from well_format import format_defects

from wavesim.dataset import WaveDataset, check
from wavesim.errors import WavesimError
from wavesim.fem import (
    Burst,
    LiveSolver,
    Nodes,
    Pulse,
    assemble,
    generate_waves,
    recall,
    rerun,
    resolved,
    simulate,
    stepper,
    uniform,
    waves_through,
)
from wavesim.fem import plan as plans
from wavesim.fem.ladder import pressure
from wavesim.fem.packing_mesh import SquarePacking, read
from wavesim.fem.simulation import run, sample, start
from wavesim.fem.trial import estimate
from wavesim.metrics import relative_l2
from wavesim.preset_config import ResolvedConfig, dataset_config
from wavesim.unit_check import check_units
from wavesim.verify import verify

pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
CONFIG = ResolvedConfig(
    grid=16, frames=5, pulses=3, pulse_width=0.1, frequency=3.0, element_size=0.12, degree=3, verified=1
)
BURST = Burst((0.45, 0.55), 0.1, 3.0)


@pytest.fixture(scope="module")
def packings(tmp_path_factory):
    """Three packings of eight disks on a jittered lattice in a box of side 4."""
    path = tmp_path_factory.mktemp("packings") / "packings.h5"
    random = np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(np.arange(4) + 0.5, np.arange(0, 4, 2) + 0.5), axis=-1).reshape(-1, 2)
    with h5py.File(path, "w") as file:
        for k in range(3):
            group = file.create_group(f"{k:06d}")
            group["positions"] = lattice + random.uniform(-0.05, 0.05, lattice.shape)
            group["radii"] = np.where(np.arange(8) % 2, 0.45, 0.35)
            group["box"] = [4.0, 4.0]
            group.attrs.update(size_ratio=7 / 9, complete=True)
    return path


@pytest.fixture(scope="module")
def mesh(packings):
    return resolved.meshed(read(packings)[0], CONFIG)


@pytest.fixture(scope="module")
def dataset(packings, tmp_path_factory):
    out = tmp_path_factory.mktemp("waves")
    return out, generate_waves(CONFIG, packings, out, seed=7, workers=2, progress=False)


def contents(out):
    """The bytes of everything but the run's log of timings and the number of its process."""
    return {
        path.relative_to(out): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.jsonl", ".lock")
    }


def test_grains_that_are_background_leave_the_waves_of_an_empty_square(packings):
    """On the mesh of a packing, against a rectangle's own mesh, whose sampling and share are proved elsewhere."""
    config = CONFIG.model_copy(update={"bulk_modulus": 1.0, "density": 1.0, "degree": 6, "element_size": 0.2})
    got = waves_through(packings, BURST, config, number=1)
    empty = assemble(uniform(), Nodes((12, 12), 6), 1 / 32, (16, 16), sources=[BURST.source])
    state = stepper.init(empty.operator, np.zeros(empty.operator.mass.size))
    for _ in range(32):  # of a 32nd each: three periods of frequency 3
        state = stepper.advance(empty.operator, state)
    truth = run(replace(empty, operator=replace(empty.operator, drive=None)), state, 5)[0]
    assert relative_l2(got.pressure, truth.pressure).max() < 3e-4
    assert relative_l2(got.pressure_rate, truth.pressure_rate).max() < 1e-3
    np.testing.assert_allclose(got.energy, truth.energy, rtol=1e-4)
    np.testing.assert_allclose(got.unresolved_share, truth.unresolved_share, rtol=2e-2)


def test_frames_are_free_of_sources_and_go_on_from_the_first_alone(mesh):
    """The same steps with the source kept are 1e-6 away, and energy is constant; half a burst earlier it is not."""
    problem, state = resolved.ready(CONFIG, mesh, [BURST], dtype=np.float64)
    frames = run(problem, state, 5)[0]
    assert np.ptp(frames.energy) < 1e-4 * frames.energy[0]
    driven = assemble(
        resolved.materials(CONFIG),
        mesh,
        1 / 32,
        (16, 16),
        sources=[BURST.source],
        degree=3,
        steps=problem.operator.steps,
    )
    on = stepper.init(driven.operator, np.zeros(driven.operator.mass.size))
    energy = []
    for frame in range(37):
        if frame >= 32:
            fields = sample(driven, stepper.frame(driven.operator, on))
            np.testing.assert_allclose(fields[0], frames.pressure[frame - 32], atol=1e-6 * np.abs(fields[0]).max())
        energy.append(float(stepper.frame(driven.operator, on).energy))
        on = stepper.advance(driven.operator, on)
    assert max(energy[12:20]) > 1.5 * min(energy[12:20])


@pytest.mark.parametrize("side", ["rigid", "absorbing"])
def test_bursts_in_a_batch_run_as_each_does_alone(mesh, side):
    config = CONFIG.model_copy(update={"sides": (side, "soft", side, side), "layer": 2})
    bursts = [BURST, Burst((0.35, 0.4), 0.1, 3.0), Burst((0.6, 0.65), 0.1, 3.0)]
    for burst, run_ in zip(bursts, resolved.frames(config, mesh, bursts), strict=True):
        alone = resolved.frames(config, mesh, [burst])[0]
        np.testing.assert_array_equal(run_.pressure, alone.pressure)
        np.testing.assert_array_equal(run_.pressure_rate, alone.pressure_rate)
        np.testing.assert_allclose(run_.energy, alone.energy, rtol=1e-12)


@pytest.mark.parametrize(("m", "n"), [(3, 0), (2, 5)])
def test_the_share_of_a_standing_mode_on_curved_cells_is_that_of_its_cell_averages(m, n):
    """As on rectangles: share^2 = 1 - prod over the axes of (sin(k h/2) / (k h/2))^2."""
    ready = assemble(uniform(), warped(8), 0.01, (12, 18), degree=7)
    state = start(ready, lambda x, y: np.cos(m * np.pi * x) * np.cos(n * np.pi * y))
    held = np.sinc(m / (2 * 18)) * np.sinc(n / (2 * 12))
    assert run(ready, state, 1)[0].unresolved_share[0] == pytest.approx(np.sqrt(1 - held**2), rel=1e-4)


def test_the_cells_hold_the_mass_and_the_compressibility_of_the_mesh(packings, mesh):
    """Integrals over the square: by cells of the file, and by the quadrature of the elements."""
    packing = read(packings)[0]
    kappa, rho = resolved.medium(CONFIG, packing.positions, packing.radii).cells((16, 16))
    problem, _ = resolved.ready(CONFIG, mesh, [BURST])
    space = problem.space
    for cells, by_tag in ((rho, (1.0, CONFIG.density)), (1 / kappa, (1.0, 1 / CONFIG.bulk_modulus))):
        grains = np.sum(space.weights * (space.evaluate(by_tag) - 1))
        assert cells.mean() - 1 == pytest.approx(grains, rel=5e-3)


def test_a_dataset_is_whole_well_formed_and_what_it_says(dataset, packings):
    out, summary = dataset
    assert summary["trajectories"] == check(out) == {"train": 3, "valid": 3, "test": 3}
    assert 0 < summary["truth_error"]["pressure"]["mean"] < 0.2 and summary["verified"] == 1
    for path in out.rglob("*.hdf5"):
        with h5py.File(path) as file:
            assert format_defects(file) == []
            about = json.loads(file.attrs["wavesim"])
            assert np.ptp(file["scalars/energy"][:], axis=1).max() < 1e-3 * file["scalars/energy"][:].max()
        assert about["source_free_from"] == {"frame": 0, "after_bursts_began": 1.0, "source_over_its_peak": 9.8e-09}
        assert len({tuple(one["burst"]["center"]) for one in about["trajectories"]}) == 3
    data = WaveDataset(out, "valid")
    config, medium, burst = recall(data.paths[0], 1)
    assert config == CONFIG
    np.testing.assert_allclose(medium.cells((16, 16)), data.medium(1), rtol=1e-6)
    state, _, unknowns = rerun(data.paths[0], 1)
    np.testing.assert_allclose(data.trajectory(1).state, state, atol=2e-5 * np.abs(state).max())
    alone = waves_through(packings, burst, config, number=int(data.paths[0].stem[-6:]))
    np.testing.assert_allclose(alone.pressure, state[:, 0], atol=1e-5 * np.abs(state[:, 0]).max())
    assert alone.unknowns == unknowns
    with pytest.raises(WavesimError, match="choose the degree"):
        rerun(data.paths[0], 1, elements=9)
    card = (out / "README.md").read_text()
    assert "against degree 4 on the same mesh" in card and "sharp, followed by the mesh" in card
    (line,) = verify(out, 1)
    assert "against degree 4, stated" in line and "constant to" in line


def test_a_finite_element_run_of_lower_degree_competes_on_the_mesh_of_the_file(dataset):
    from wavesim.costs import ladder_of

    data, errors = WaveDataset(dataset[0], "test"), []
    path, runs = data.paths[0], ladder_of(data)
    assert [run[1:] for run in runs] == [(None, 2), (None, 3)] and runs[-1][0].endswith("the truth")
    truth = rerun(path, 0, degree=5)[0][1:, 0]
    for _, elements, degree in runs:
        errors.append(np.linalg.norm(pressure(path, 0, elements, degree) - truth) / np.linalg.norm(truth))
    assert errors[1] < errors[0] / 2 < 0.25


def test_a_live_solver_goes_on_from_the_files_first_frame_and_takes_pulses(dataset):
    data = WaveDataset(dataset[0], "test")
    stored = data.trajectory(0).state
    with LiveSolver(data.paths[0], 0) as solver:
        np.testing.assert_allclose(solver.medium, data.medium(0), rtol=1e-6)
        np.testing.assert_allclose(solver.state, stored[0], atol=1e-5 * np.abs(stored).max())
        np.testing.assert_allclose(solver.step()[0], stored[1], atol=1e-5 * np.abs(stored).max())
        before = solver.state[0]
        solver.add_pulse(0.5, 0.5, 0.1)
        assert 0.5 < (solver.state[0] - before).max() <= 1


def test_a_killed_run_ends_with_the_bytes_of_an_unbroken_one(dataset, packings, tmp_path):
    out, script = tmp_path / "out", tmp_path / "run.py"
    script.write_text(
        "from pathlib import Path\nfrom wavesim.preset_config import ResolvedConfig\n"
        "from wavesim.fem import generate_waves\nif __name__ == '__main__':\n"
        f"    config = ResolvedConfig.model_validate_json('{CONFIG.model_dump_json()}')\n"
        f"    generate_waves(config, Path({str(packings)!r}), Path({str(out)!r}), 7, 1, False)\n"
    )
    killed = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.glob("data/*/*.hdf5")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    done = {path: path.stat().st_mtime_ns for path in out.glob("data/*/*.hdf5")}
    assert 1 <= len(done) < 3
    generate_waves(CONFIG, packings, out, seed=7, workers=1, progress=False)
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
    assert contents(out) == contents(dataset[0])


def test_a_dry_run_knows_the_bytes_with_the_mesh(dataset, packings, tmp_path):
    plan = plans.plan_packings(CONFIG, packings, tmp_path / "out", 7)
    said, files = estimate(plan, workers=2), list(dataset[0].rglob("*.hdf5"))
    assert said["trajectories"] == 9 and said["minutes"] > 0
    assert said["gigabytes"] == pytest.approx(sum(path.stat().st_size for path in files) / 1e9, rel=0.2)


def test_what_cannot_be_meshed_is_named_with_what_to_change(packings, tmp_path, monkeypatch):
    touching = SquarePacking("000009", np.array([[0.3, 0.5], [0.5, 0.5]]), np.array([0.1, 0.1]), 1.0)
    with pytest.raises(WavesimError, match=r"packing 000009: disks near .* use a radius_scale below 0\.999"):
        resolved.meshed(touching, CONFIG.model_copy(update={"radius_scale": 0.999}))
    with pytest.raises(WavesimError, match=r"center \(1\.7, 0\.5\) .* outside .*; use 0 to 1"):
        waves_through(packings, replace(BURST, center=(1.7, 0.5)), CONFIG)
    with pytest.raises(WavesimError, match="has no packing 3: it holds 0 to 2"):
        waves_through(packings, BURST, CONFIG, number=3)
    monkeypatch.setattr(plans, "find_spec", lambda _: None)
    with pytest.raises(WavesimError, match="gmsh is not installed"):
        plans.plan_packings(CONFIG, packings, tmp_path, 0)


def test_the_wells_own_reader_passes_over_the_mesh(dataset):
    well = pytest.importorskip("the_well.data")
    sample_ = well.WellDataset(path=str(dataset[0]), well_split_name="test", n_steps_input=1, n_steps_output=4)[0]
    state = WaveDataset(dataset[0], "test").trajectory(0).state[:, 0]
    fields = np.concatenate([sample_["input_fields"], sample_["output_fields"]])[..., 0]
    np.testing.assert_array_equal(fields.swapaxes(1, 2), state)


def test_the_fields_are_in_units_of_each_other(dataset):
    for name in ("train", "valid", "test"):
        check_units(WaveDataset(dataset[0], name))


def test_the_preset_lets_waves_out_at_the_sides_that_a_config_says(packings, tmp_path):
    """From a file, with its stated error, run again by `verify`; energy leaves, and none comes in."""
    (tmp_path / "open.toml").write_text(
        'preset = "packing"\nsides = ["absorbing", "rigid", "soft", "absorbing"]\nlayer = 4\n'
        "grid = 16\nframes = 33\npulses = 1\npulse_width = 0.1\nfrequency = 3.0\nelement_size = 0.12\ndegree = 3\n"
        "verified = 1\n"
    )
    config, out = dataset_config(tmp_path / "open.toml"), tmp_path / "waves"
    summary = generate_waves(config, packings, out, seed=7, workers=1, progress=False)
    assert 0 < summary["truth_error"]["pressure"]["mean"] < 0.2
    check_units(WaveDataset(out, "test"))
    path = WaveDataset(out, "test").paths[0]
    with h5py.File(path) as file:
        energy = file["scalars/energy"][0]
        assert energy[-1] < 0.6 * energy[0] and energy.max() < 1.01 * energy[0]
        assert {"x_open", "y_open", "x_wall", "y_soft_wall"} <= set(file["boundary_conditions"])
    (line,) = verify(out, 1)
    assert "against degree 4, stated" in line and "constant to" not in line


def test_each_packing_may_be_of_a_matter_of_its_own(packings, tmp_path):
    """Drawn once for all its waves, said by its file, and the same again."""
    drawn = {"bulk_moduli": (4.0, 20.0), "densities": (1.0, 5.0), "frames": 5, "pulses": 1, "verified": 1}
    config, contrasts = CONFIG.model_copy(update=drawn), []
    generate_waves(config, packings, tmp_path, seed=7, workers=1, progress=False)
    for split in ("train", "valid", "test"):
        data = WaveDataset(tmp_path, split)
        own, medium, burst = recall(data.paths[0], 0)
        contrasts.append((own.bulk_modulus, own.density))
        np.testing.assert_allclose(medium.cells((16, 16)), data.medium(0), rtol=1e-6)
        assert data.medium(0).max(axis=(1, 2)) == pytest.approx(contrasts[-1], rel=1e-6)  # of a cell within a grain
        alone = waves_through(packings, burst, own, number=int(data.paths[0].stem[-6:]))
        pressure = data.trajectory(0).state[:, 0]
        np.testing.assert_allclose(alone.pressure, pressure, atol=1e-5 * np.abs(pressure).max())
    bulk_moduli, densities = zip(*contrasts, strict=True)
    assert 4 <= min(bulk_moduli) < max(bulk_moduli) <= 20 and 1 <= min(densities) < max(densities) <= 5
    assert "kappa x4 to 20, rho x1 to 5" in (tmp_path / "README.md").read_text()
    again = plans.plan_packings(config, packings, tmp_path, 7)
    assert {(job.config.bulk_modulus, job.config.density) for job in again.jobs} == set(contrasts)


def test_a_dataset_may_take_the_raster_in_place_of_a_mesh(packings, dataset, tmp_path, monkeypatch):
    """Without gmsh: its waves come closer to the mesh's on a finer raster, and its files tell how to run them again."""
    monkeypatch.setattr(plans, "find_spec", lambda name: None)
    config = CONFIG.model_copy(update={"road": "raster", "element_size": 0.05, "pulses": 1})
    summary = generate_waves(config, packings, tmp_path, seed=7, workers=1, progress=False)
    assert summary["verified"] == 1 and 0 < summary["truth_error"]["pressure"]["mean"] < 0.1
    for split in ("train", "valid", "test"):
        raster, meshed = WaveDataset(tmp_path, split), WaveDataset(dataset[0], split)
        path = raster.paths[0]
        with h5py.File(path) as file:
            assert "mesh" not in file and format_defects(file) == []
        np.testing.assert_array_equal(raster.medium(0), meshed.medium(0))
        pressure, other = (data.trajectory(0).state[: config.frames, 0] for data in (raster, meshed))
        apart = relative_l2(pressure, other).max()
        again, _, unknowns = rerun(path, 0)
        np.testing.assert_allclose(again[:, 0], pressure, atol=2e-5 * np.abs(pressure).max())
        finer, _, more = rerun(path, 0, elements=40, degree=4)
        assert more > 4 * unknowns and relative_l2(finer[:, 0], other).max() < 0.7 * apart < 0.07
    card = (tmp_path / "README.md").read_text()
    assert "in averages around each of the elements' points" in card and "20 x 20 spectral elements" in card
    assert "on the same mesh" not in card
    with pytest.raises(WavesimError, match="use waves_through"):
        simulate(config, uniform(), Pulse((0.5, 0.5), 0.1))


def test_a_rectangles_own_mesh_is_not_made_of_a_resolved_packings_settings():
    with pytest.raises(WavesimError, match="use waves_through"):
        simulate(CONFIG, uniform(), Pulse((0.5, 0.5), 0.1))


def test_settings_that_a_resolved_packing_cannot_have_are_refused():
    from wavesim.config import parse

    for content, words in (
        ({"sides": ["periodic"] * 4}, "sides.0: Input should be 'rigid', 'soft' or 'absorbing'"),
        ({"radius_scale": 1.0}, "radius_scale: Input should be less than 1"),
        ({"interface_width": 0.01}, "unknown key 'interface_width'"),
        ({"densities": [5.0, 1.0]}, "densities 5, 1: the second must not be below the first"),
    ):
        with pytest.raises(WavesimError, match=words):
            parse(content, ResolvedConfig, "waves.toml")
