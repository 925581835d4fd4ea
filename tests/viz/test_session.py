"""The live session without a window: time, pulses, forecasters, packings, and a truth that is slow."""

import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from viz_stubs import ToyForecaster, toy_models, trajectory, write_square_packings

from wavesim.config import ForecasterConfig, WavesConfig
from wavesim.dataset import Shard, WaveDataset, write_shard
from wavesim.errors import WavesimError
from wavesim.viz.runs import find_run, open_run
from wavesim.viz.session import Session
from wavesim.viz.sources import LiveTruth, RecordedTruth, as_array, gaussian_cells

GRID = 16


class ConstantTruth:
    """p = 1 everywhere, for ever, or until `last`; `wait` seconds a frame."""

    label, engine, takes_pulses, frame_interval, milliseconds = "constant", "a constant", True, 0.5, 0.0

    def __init__(self, wait=0.0, last=None, packings=1):
        self.names = tuple(f"p{i}" for i in range(packings))
        self.wait, self.last, self.closed = wait, last, False

    def start(self, index):
        self.index, self.frame, self.state = index, 0, np.ones((2, GRID, GRID), np.float32)
        return self.state, np.full((2, GRID, GRID), 1.0 + index, np.float32)

    def step(self):
        time.sleep(self.wait)
        if self.frame == self.last:
            return None
        self.frame += 1
        return self.state

    def add_pulse(self, x, y, width, amplitude):
        self.state = self.state.copy()
        self.state[0] += gaussian_cells((GRID, GRID), x, y, width, amplitude)
        return self.state

    def close(self):
        self.closed = True


@dataclass
class Growing:
    """Adds `by` to the pressure at every step; answers torch tensors with a batch axis, as networks do."""

    by: float
    engine = "an addition"
    state: torch.Tensor | None = None

    def init(self, state, medium):
        return Growing(self.by, torch.as_tensor(np.array(state))[None])

    def step(self, s):
        return Growing(self.by, s.state + self.by * torch.tensor([1.0, 0.0])[:, None, None])


def constant_session(**options):
    return Session(ConstantTruth(**options), {"slow": Growing(0.1), "fast": Growing(0.3)})


def test_the_error_is_the_relative_l2_of_the_pressure_against_time():
    with constant_session() as session:
        assert all(session.advance() for _ in range(3))
        lead, error = np.array(session.errors["slow"]).T
        assert np.allclose(lead, [0.5, 1.0, 1.5]) and np.allclose(error, [0.1, 0.2, 0.3], rtol=1e-5)
        assert (session.clock, session.frames, session.error) == (1.5, 3, pytest.approx(0.3))
    assert session.source.closed


def test_pause_holds_both_fields_and_the_clock():
    with constant_session() as session:
        session.advance()
        session.toggle_pause()
        before = session.forecast
        assert session.state == "paused" and not session.advance() and not session.poll()
        assert session.forecast is before and session.clock == 0.5
        session.toggle_pause()
        assert session.state == "running" and session.advance() and session.clock == 1.0


def test_another_forecaster_goes_on_from_the_present_truth_and_the_old_curve_stays():
    with constant_session() as session:
        session.advance(), session.advance()
        session.switch_model("fast")
        session.settle()
        assert np.allclose(session.forecast, 1.0) and session.clock == 1.0
        session.advance()
        assert session.errors["fast"] == [(0.5, pytest.approx(0.3))] and len(session.errors["slow"]) == 2
        with pytest.raises(WavesimError, match="no forecaster 'none' here; there are slow, fast"):
            session.switch_model("none")


def test_another_packing_begins_at_time_zero_with_its_own_medium_and_no_curves():
    with constant_session(packings=3) as session:
        session.advance()
        session.switch_packing(-1)
        session.settle()
        assert session.packing_name == "p2" and session.medium[0, 0, 0] == 3.0
        assert session.clock == 0 and session.errors == {"slow": []} and session.state == "running"


def test_restart_keeps_the_other_forecasters_curves():
    with constant_session() as session:
        session.advance()
        session.switch_model("fast")
        session.advance()
        session.restart()
        session.settle()
        assert session.clock == 0 and len(session.errors["slow"]) == 1 and session.errors["fast"] == []


def test_a_pulse_adds_the_gaussians_cell_averages_to_the_pressure_of_truth_and_forecast():
    with Session(ConstantTruth(), {"slow": Growing(0.1)}, pulse_width=0.06, pulse_amplitude=0.7) as session:
        session.advance()
        truth, forecast = session.truth.copy(), session.forecast.copy()
        session.drop_pulse(0.3, 0.8)
        session.settle()
        # Averages by a fine midpoint rule, 40 x 40 points a cell.
        points = (np.arange(40 * GRID) + 0.5) / (40 * GRID)
        square = (points[None, :] - 0.3) ** 2 + (points[:, None] - 0.8) ** 2
        expected = 0.7 * np.exp(-square / (2 * 0.06**2)).reshape(GRID, 40, GRID, 40).mean((1, 3))
        for now, then in ((session.truth, truth), (session.forecast, forecast)):
            assert np.allclose(now[0] - then[0], expected, atol=1e-4) and np.array_equal(now[1], then[1])
        assert np.unravel_index(expected.argmax(), expected.shape) == (12, 4)
        session.advance()  # the forecast goes on with the pulse in it
        assert np.allclose(session.forecast[0], forecast[0] + 0.1 + expected, atol=1e-4)


def test_a_pulse_takes_effect_in_a_pause():
    with constant_session() as session:
        session.settle()
        session.toggle_pause()
        session.drop_pulse(0.5, 0.5)
        session.settle()
        assert session.truth[0].max() > 1.5 and session.forecast[0].max() > 1.5 and session.clock == 0


def test_polling_never_waits_for_a_slow_truth():
    with constant_session(wait=0.4) as session:
        session.settle()
        longest, end = 0.0, time.monotonic() + 1.0
        while time.monotonic() < end:
            begin = time.monotonic()
            session.poll()
            session.drop_pulse(0.5, 0.5)
            longest = max(longest, time.monotonic() - begin)
            time.sleep(0.01)
        assert longest < 0.2 and session.frames >= 1


def test_the_end_of_a_record_is_said_and_time_stands_still():
    with constant_session(last=2) as session:
        assert [session.advance() for _ in range(4)] == [True, True, False, False]
        assert session.state == "ended" and "record ends" in session.message
        session.restart()
        session.settle()
        assert session.state == "running" and session.message == ""


@dataclass(frozen=True)
class Exploding:
    """Ten times as much with every frame, or nothing that is a number."""

    factor: float
    engine = "a factor"

    def init(self, state, medium):
        return ToyForecaster().init(state, medium)

    def step(self, s):
        return replace(s, state=self.factor * s.state)


@pytest.mark.parametrize(("factor", "last"), [(10.0, 4), (np.nan, 1)])
def test_a_forecast_that_grows_without_bound_is_stopped_and_named_with_its_frame(factor, last):
    session = Session(ConstantTruth(), {"wild": Exploding(factor), "tame": ToyForecaster()})
    while session.advance():
        assert session.frames < 10
    assert session.frames == last and session.state == "ended"  # relative errors of 9, 99, 999 and 9,999
    assert session.message.startswith(f"wild grew without bound by frame {last}: r restarts")
    session.switch_model("tame")
    assert session.advance() and session.frames == last + 1


def test_an_error_of_the_truth_reaches_the_caller():
    class Broken(ConstantTruth):
        def step(self):
            raise WavesimError("the solver's process has ended")

    with Session(Broken(), {"slow": Growing(0.1)}) as session, pytest.raises(WavesimError, match="has ended"):
        session.advance()


class Unavailable(ConstantTruth):
    """Cannot start."""

    label, engine = "live", "a solver"

    def start(self, index):
        raise WavesimError("dolfinx is installed but cannot be imported")


def test_a_truth_that_cannot_start_gives_way_to_the_fallback_and_says_why():
    first, fallback = Unavailable(), ConstantTruth(packings=2)
    with Session(first, {"slow": Growing(0.1)}, fallback=fallback) as session:
        assert session.advance() and session.source is fallback and first.closed
        assert session.why_recorded == "dolfinx is installed but cannot be imported"
        assert session.message == f"the truth is recorded, not live: {session.why_recorded}"
        session.switch_packing(1)
        session.settle()
        assert session.packing_name == "p1" and session.message == ""
    with Session(Unavailable(), {"slow": Growing(0.1)}) as session, pytest.raises(WavesimError, match="imported"):
        session.settle()


def test_milliseconds_are_medians_and_none_before_the_first_frame():
    with constant_session() as session:
        session.settle()
        assert session.truth_milliseconds == session.forecast_milliseconds == 0
        for spent in (90.0, 2.0, 3.0):  # the first call warms up
            session.source.milliseconds = spent
            session.advance()
        assert session.truth_milliseconds == 3.0 and session.forecast_milliseconds > 0
        session.switch_model("fast")
        assert session.truth_milliseconds == 3.0 and session.forecast_milliseconds == 0


def test_states_of_networks_lose_their_batch_axis():
    assert as_array(torch.ones(1, 2, 3, 4)).shape == as_array(np.ones((2, 3, 4))).shape == (2, 3, 4)


def record(root, split="test", packings=2, rows=2, frames=6):
    """A small dataset of the toy wave; returns the states of each packing's first trajectory."""
    first = []
    for j in range(packings):
        medium = np.ones((rows, 2, GRID, GRID)) * (1.0 + 0.1 * j)
        states = np.stack([trajectory(medium[0], frames, x=0.3 + 0.1 * i) for i in range(rows)])
        axis = (np.arange(GRID) + 0.5) / GRID
        shard = Shard(
            states[:, :, 0],
            states[:, :, 1] * 32,
            medium[:, 0],
            medium[:, 1],
            np.arange(frames) / 32,
            axis,
            axis,
            {},
            {},
        )
        write_shard(root / "data" / split / f"packing_{j:06d}.hdf5", shard)
        first.append(states[0])
    return first


def test_recorded_truth_plays_the_first_trajectory_of_each_packing_and_takes_no_pulse(tmp_path):
    first = record(tmp_path)
    with Session(RecordedTruth(WaveDataset(tmp_path, "test")), {"toy": ToyForecaster(0.0)}) as session:
        assert session.source.names == ("packing_000000", "packing_000001")
        session.switch_packing(1)
        for frame in range(1, 6):
            assert session.advance() and np.allclose(session.truth, first[1][frame], atol=1e-6)
            assert session.error < 1e-5  # the same toy wave
        assert not session.advance() and session.ended
        before = session.truth.copy()
        session.drop_pulse(0.5, 0.5)
        session.settle()
        assert "dolfinx" in session.message and np.array_equal(session.truth, before)


def save_models(folder, names=("pruned", "classical"), courant=GRID / 32):
    from wavesim.surrogate import Forecaster, save

    folder.mkdir(parents=True)
    for name in names:
        save(
            Forecaster(ForecasterConfig(width=8, ranks=(2,), encoder_width=8), courant),
            folder / f"{name}.safetensors",
        )


def test_open_run_finds_models_in_order_and_the_dataset_beside_them(tmp_path):
    save_models(tmp_path / "run" / "models")
    record(tmp_path / "run" / "waves")
    for path in (tmp_path / "run", tmp_path / "run" / "models"):
        models, root = find_run(path)
        assert list(models) == ["classical", "pruned"] and root.resolve() == (tmp_path / "run" / "waves").resolve()
    with open_run(tmp_path / "run", live=False) as session:
        assert session.advance() and session.model_name == "classical" and session.forecast_milliseconds > 0
        assert session.forecast.shape == (2, GRID, GRID) and 0 < session.error < 0.5  # the coarse step, untrained
        assert session.models["classical"].engine.endswith(", one thread") and session.why_recorded == ""


def test_open_run_plays_the_record_where_the_solver_cannot_start(tmp_path):
    save_models(tmp_path / "run" / "models")
    record(tmp_path / "run" / "waves")
    with open_run(tmp_path / "run") as session:
        session.settle()
        assert session.source.label == "FE truth, recorded" and session.advance()
        assert "does not say how it was made" in session.why_recorded
        session.drop_pulse(0.5, 0.5)
        assert session.message == f"a recorded truth takes no pulse: {session.why_recorded}"


def test_forecasters_of_another_frame_interval_are_refused(tmp_path):
    save_models(tmp_path / "run" / "models", courant=2 * GRID / 32)
    record(tmp_path / "run" / "waves")
    with pytest.raises(
        WavesimError, match=r"classical\.safetensors was trained on frames of 1\.000 cells .*, .* has 0\.500"
    ):
        open_run(tmp_path / "run", live=False)


def test_open_run_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WavesimError, match="is not a folder"):
        open_run(tmp_path / "none")
    (tmp_path / "run" / "models").mkdir(parents=True)
    with pytest.raises(WavesimError, match=r"no \.safetensors"):
        open_run(tmp_path / "run")
    (tmp_path / "run" / "models" / "a.safetensors").touch()
    with pytest.raises(WavesimError, match="no dataset for"):
        open_run(tmp_path / "run")


def test_the_live_solver_repeats_the_record_and_takes_a_pulse(tmp_path):
    from wavesim.fem import generate_waves

    config = WavesConfig(
        grid=GRID, frames=4, pulses=1, elements=8, degree=2, time_order=2, verified=0, pulse_width=0.12
    )
    generate_waves(config, write_square_packings(tmp_path / "p.h5"), tmp_path / "waves", seed=0, workers=1)
    data = WaveDataset(tmp_path / "waves", "test")
    recorded = data.window(0, 0, 4)
    assert LiveTruth(data).names == RecordedTruth(data).names
    with Session(LiveTruth(data), toy_models(), pulse_width=0.12) as session:
        session.settle()
        assert session.source.engine == "degree 2, one thread" and session.truth_milliseconds == 0
        session.advance(), session.advance()
        assert np.allclose(session.truth, recorded[2], atol=1e-5) and session.source.milliseconds > 0
        shown, forecast = session.truth.copy(), session.forecast.copy()
        session.drop_pulse(0.5, 0.5)
        session.settle()
        jump, expected = session.truth[0] - shown[0], session.forecast[0] - forecast[0]
        assert 0.8 < expected.max() < 1 and np.linalg.norm(jump - expected) < 0.02 * np.linalg.norm(expected)
        session.advance()
        assert np.abs(session.truth[0] - recorded[3, 0]).max() > 0.4
