"""The live window forecasts in the runtime that is fastest where it runs, and what it shows is what torch forecasts."""

from __future__ import annotations

import ctypes
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from test_session import GRID, record
from viz_stubs import ToyTruth, step_wave

from wavesim import surrogate
from wavesim.config import ForecasterConfig
from wavesim.dataset import WaveDataset
from wavesim.viz.runs import open_run
from wavesim.viz.scene import SIZE, Scene, numbers
from wavesim.viz.session import Session
from wavesim.viz.sources import SavedForecaster, gaussian_cells

DEMO = Path(__file__).parents[2] / "data" / "models" / "demo"
SETTINGS = {"width": 8, "ranks": (4, 4), "encoder_width": 4, "encoder_ranks": (2, 2), "kernel_size": 5}


def saved(folder: Path, **changes: object) -> Path:
    """A forecaster whose head is not zero, as a trained one has it."""
    torch.manual_seed(1)
    model = surrogate.Forecaster(ForecasterConfig(**{**SETTINGS, **changes}), GRID / 32)
    (head,) = (weight for name, weight in model.named_parameters() if name.endswith("head.weight"))
    torch.nn.init.normal_(head, std=0.02)
    return surrogate.save(model, folder / "m.safetensors")


@pytest.fixture
def waves(tmp_path: Path) -> WaveDataset:
    record(tmp_path / "waves", packings=1)
    return WaveDataset(tmp_path / "waves", "test")


def measuring(monkeypatch: pytest.MonkeyPatch, **milliseconds: float) -> None:
    """A machine on which a frame takes so long in `torch`, in compiled `loops` and in ONNX Runtime, `onnx`."""
    names = {"torch": "torch", "compiled loops": "loops", "ONNX Runtime": "onnx"}
    times = {name: milliseconds.get(short, 9.0) for name, short in names.items()}
    monkeypatch.setattr("wavesim.bench.in_turns", lambda works, **_: {name: (times[name],) * 2 for name in works})


def test_the_runtime_is_the_one_that_was_fastest_here_and_the_caption_and_the_log_say_so(tmp_path, waves, monkeypatch):
    path = saved(tmp_path)
    for times, runtime in (({"torch": 2.0, "loops": 0.5}, "compiled loops"), ({"torch": 0.5, "loops": 2.0}, "torch")):
        measuring(monkeypatch, **times)
        with Session(ToyTruth(1, GRID), {"m": (forecaster := SavedForecaster(path, waves))}) as session:
            session.advance()
            assert f" ms a frame ({runtime}, " in numbers(session, 10.0).splitlines()[4]
        other = {"compiled loops": "torch", "torch": "compiled loops"}[runtime]
        assert forecaster.log == f"runs in {runtime} (milliseconds a frame here: {runtime} 0.50, {other} 2.00)"


def test_the_shipped_forecasters_run_in_compiled_loops_by_this_machines_own_clock():
    with open_run(DEMO, live=False) as session:
        assert [forecaster.engine for forecaster in session.models.values()] == ["compiled loops, one thread"] * 3
        assert [line.split(" (")[0] for line in session.log] == [
            f"{name} runs in compiled loops" for name in session.models
        ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "unet"}, "gated networks, not 'unet'"),
        ({"bundle": 2}, "bundle 2"),
        ({"conserve_energy": False}, "conserve_energy"),
    ],
)
def test_what_the_loops_do_not_know_runs_in_torch_and_the_log_says_why(tmp_path, waves, changes, words):
    forecaster = SavedForecaster(saved(tmp_path, **changes), waves)
    assert forecaster.engine.startswith("torch, ") and words in forecaster.log and "compiled" not in forecaster.engine
    begun = forecaster.init(waves.window(0, 0, 1)[0], waves.medium(0))
    assert np.isfinite(np.asarray(forecaster.step(begun).state)).all()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundled network, which the loops do not know, with its graphs beside it."""
    path = saved(tmp_path_factory.mktemp("exported"), bundle=2)
    surrogate.export_onnx(surrogate.load(path), path.with_suffix(""), (GRID, GRID))
    return path.parent


def test_graphs_that_lie_beside_a_model_run_where_they_are_fastest(exported, waves, monkeypatch):
    for times, runtime in (({"torch": 2.0, "onnx": 0.5}, "ONNX Runtime"), ({"torch": 0.5, "onnx": 2.0}, "torch")):
        measuring(monkeypatch, **times)
        forecaster = SavedForecaster(exported / "m.safetensors", waves)
        other = {"ONNX Runtime": "torch", "torch": "ONNX Runtime"}[runtime]
        said = f"runs in {runtime} (milliseconds a frame here: {runtime} 0.50, {other} 2.00); the loops know one frame"
        assert forecaster.log.startswith(said) and forecaster.engine.startswith(f"{runtime}, ")
        expected = surrogate.rollout(
            surrogate.load(exported / "m.safetensors"), waves.window(0, 0, 1)[0], waves.medium(0), 5
        )
        current, kept = forecaster.init(waves.window(0, 0, 1)[0], waves.medium(0)), []
        for _ in range(5):
            current = forecaster.step(current)
            kept.append(np.array(current.state[0]))
        np.testing.assert_allclose(kept, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_graphs_of_another_model_or_grid_or_broken_ones_are_left_and_the_log_says_so(
    exported, tmp_path, waves, monkeypatch
):
    measuring(monkeypatch, torch=2.0, onnx=0.5)
    for name in ("other", "larger", "broken", "half"):
        shutil.copytree(exported, tmp_path / name)
    saved(tmp_path / "other", bundle=3)
    for part in ("start", "frame"):
        path = tmp_path / "larger" / f"m.{part}.onnx"
        graph = onnx.load(path)
        onnx.helper.set_model_props(
            graph, {prop.key: prop.value for prop in graph.metadata_props} | {"grid": f"[{2 * GRID}, {GRID}]"}
        )
        onnx.save(graph, path)
    (tmp_path / "broken" / "m.frame.onnx").write_bytes(b"no graph")
    (tmp_path / "half" / "m.start.onnx").unlink()
    for name, why in (
        ("other", "the graphs beside it are of another forecaster; `wavesim export` makes them anew"),
        ("larger", f"the graphs beside it are for a grid of {GRID} x {2 * GRID} cells"),
        ("broken", r"m\.frame\.onnx is not a whole ONNX graph"),
        ("half", r"m\.start\.onnx does not exist"),
    ):
        forecaster = SavedForecaster(tmp_path / name / "m.safetensors", waves)
        assert forecaster.engine.startswith("torch, ") and re.search(why, forecaster.log), forecaster.log


def test_a_pulse_a_pause_and_a_restart_leave_the_fields_those_of_torch(tmp_path, waves, monkeypatch):
    """Frame by frame over a session, to what the loops promise: 2e-5 of the largest value."""
    measuring(monkeypatch, torch=2.0, loops=0.5)
    path = saved(tmp_path)
    model, forecaster = surrogate.load(path), SavedForecaster(path, waves)

    def agrees(shown, expected):
        np.testing.assert_allclose(shown, expected, rtol=0, atol=2e-5 * np.abs(expected).max())

    with Session(ToyTruth(1, GRID), {"m": forecaster}) as session:
        session.settle()
        truth, medium = session.truth.copy(), session.medium
        begin = truth.copy()

        def follow(current, frames):
            nonlocal truth
            for _ in range(frames):
                assert session.advance()
                current, truth = surrogate.step(model, current), step_wave(truth, medium)
                agrees(session.forecast, current.state[0].numpy())
                np.testing.assert_array_equal(session.truth, truth)  # no forecast was written over it
            return current

        current = follow(surrogate.init(model, begin, medium), 7)
        session.toggle_pause()
        assert not session.advance()
        agrees(session.forecast, current.state[0].numpy())
        session.toggle_pause()
        current = follow(current, 3)

        session.drop_pulse(0.7, 0.2)
        session.settle()
        hit = current.state[0].numpy().copy()
        hit[0] += gaussian_cells((GRID, GRID), 0.7, 0.2, session.pulse_width, session.pulse_amplitude)
        agrees(session.forecast, hit)
        truth = session.truth.copy()
        follow(surrogate.init(model, hit, medium), 7)

        session.restart()
        session.settle()
        np.testing.assert_array_equal(session.truth, begin)
        np.testing.assert_array_equal(session.forecast, begin)
        truth = begin
        follow(surrogate.init(model, begin, medium), 5)


def test_a_frame_on_show_stands_until_the_next_is_on_show_and_none_is_allocated(tmp_path, waves, monkeypatch):
    class Heap(ctypes.Structure):
        _fields_ = [
            (name, ctypes.c_size_t) for name in ("arena", "free", "_2", "_3", "mapped", "_5", "_6", "used", "_8", "_9")
        ]

    measuring(monkeypatch, torch=2.0, loops=0.5)
    forecaster = SavedForecaster(saved(tmp_path), waves)
    state = np.random.default_rng(0).normal(size=(2, 64, 64)).astype("f4")
    given = state.copy()
    s = forecaster.init(state, np.ones_like(state))
    for _ in range(6):
        shown, s = s, forecaster.step(s)
        assert not np.may_share_memory(shown.state, s.state)
    np.testing.assert_array_equal(state, given)
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("this C library does not count its heap")
    libc.mallinfo2.restype = Heap

    def most(frames: int) -> int:
        """Bytes that are in use after so many frames, all of them kept, beyond those before."""
        nonlocal s
        before, kept = libc.mallinfo2(), []
        for _ in range(frames):
            s = forecaster.step(s)
            kept.append(s)
        after = libc.mallinfo2()
        return after.used + after.mapped - before.used - before.mapped

    most(10)
    assert (
        most(100) < 100 * state.nbytes / 16
    )  # kept as they are, frames in arrays of their own would take 16 times that


def test_the_longest_caption_ends_within_the_window(tmp_path, waves, monkeypatch):
    import pyvista

    measuring(monkeypatch, torch=2.0, loops=0.5)
    plotter = pyvista.Plotter(off_screen=True, window_size=list(SIZE))
    with Session(ToyTruth(1, GRID), {"m": SavedForecaster(saved(tmp_path), waves)}) as session:
        session.advance()
        session._forecast_spent.extend([1234.5] * 32)
        scene, box = Scene(plotter, session), [0.0] * 4
        scene.draw(10.0)
        assert "1234.5 ms a frame (compiled loops, one thread)" in scene._values.GetInput()
        scene._values.GetBoundingBox(plotter.renderer, box)
        left = scene._values.GetPositionCoordinate().GetComputedViewportValue(plotter.renderer)[0]
        assert 0 < box[1] and left + box[1] < SIZE[0]
    plotter.close()
