"""The bound of the error in the live session and on its screen: where there is one, and how sure it is."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from test_session import GRID, record
from viz_stubs import ToyTruth, toy_models

from wavesim import surrogate
from wavesim.config import ForecasterConfig
from wavesim.dataset import WaveDataset
from wavesim.media import waves_of
from wavesim.surrogate.band import Band, band_file
from wavesim.surrogate.checkpoint import fingerprint_of
from wavesim.viz import style
from wavesim.viz.runs import open_run
from wavesim.viz.scene import Scene, numbers
from wavesim.viz.session import Session


@dataclass(frozen=True)
class Bounds:
    """Ten per cent of the pressure's largest value a frame, for `last` frames; it keeps what it is told."""

    state: np.ndarray
    frame: int = 0
    bound: float | None = 0.0
    altered: bool = False


class TenPerCent:
    level = 0.9

    def __init__(self, last=100):
        self.last = last

    def init(self, state, medium):
        assert state.shape == medium.shape == (2, 16, 16)
        return Bounds(state.copy())

    def step(self, current, state):
        frame = current.frame + 1
        return Bounds(state.copy(), frame, 0.1 * frame if frame <= self.last else None, current.altered)

    def altered(self, current, state):
        return Bounds(state.copy(), current.frame, current.bound, True)


def session_of(last=100):
    return Session(ToyTruth(packings=2, grid=16), toy_models(), bands={"classical": TenPerCent(last)})


def test_each_frame_has_the_bound_of_the_forecast_and_of_no_other_state():
    with session_of() as session:
        session.settle()
        assert session.bound == 0 and session.as_calibrated
        for _ in range(3):
            session.advance()
            np.testing.assert_array_equal(session._bounded.state, session.forecast)
        lead, bound = np.array(session.bounds["classical"]).T
        assert np.allclose(bound, [0.1, 0.2, 0.3]) and np.array_equal(lead, np.array(session.errors["classical"])[:, 0])
        assert session.bound == pytest.approx(0.3)
        assert f"{100 * session.error:.3g} %   (90 %: below 30 %)" in numbers(session, 16.0).splitlines()


def test_a_pulse_or_a_late_start_makes_an_estimate_of_the_bound_until_it_begins_again():
    with session_of() as session:
        session.settle()
        session.advance()
        session.drop_pulse(0.5, 0.5)
        session.settle()
        assert session._bounded.altered and not session.as_calibrated
        np.testing.assert_array_equal(session._bounded.state, session.forecast)  # with the pulse: that is no defect
        session.advance()
        assert "(estimate: below 20 %)" in numbers(session, 16.0)
        session.restart()
        session.settle()
        assert session.as_calibrated and not session._bounded.altered and session.bounds == {"classical": []}
        session.advance()
        session.switch_model("pruned")
        session.settle()
        assert session.bound is None and "below" not in numbers(session, 16.0) and len(session.bounds["classical"]) == 1
        session.advance()
        session.switch_model("classical")
        session.settle()
        session.advance()
        assert session.bound == pytest.approx(0.1) and not session.as_calibrated  # it began in the midst of the waves
        session.switch_packing(1)
        session.settle()
        assert session.as_calibrated and session.bounds == {"classical": []}


def test_beyond_the_calibrated_lead_times_there_is_no_bound():
    with session_of(last=2) as session:
        for _ in range(4):
            session.advance()
        assert session.bound is None and len(session.bounds["classical"]) == 2
        assert len(session.errors["classical"]) == 4 and "below" not in numbers(session, 16.0)


def test_the_chart_shades_what_the_error_is_below():
    import pyvista

    plotter = pyvista.Plotter(off_screen=True, window_size=[1320, 740])
    with session_of() as session:
        scene = Scene(plotter, session)
        plotter.show(auto_close=False, interactive=False)

        def shaded():
            """Share of the chart in the colour of the area, where the frames are drawn: half the time axis of 2."""
            scene.draw(16.0)
            chart = plotter.screenshot(return_img=True)[470:690, 84:420, :3].astype(int)
            red, green, blue, opacity = style.faint(style.colour_of("classical", 0))
            colour = 255 * (1 - opacity * (1 - np.array([red, green, blue])))
            return float(np.mean(np.abs(chart - colour).max(axis=-1) < 12))

        session.settle()
        assert shaded() == 0
        for _ in range(30):
            session.advance()
        # 30 frames of 1/32 are 0.94 of the 0.98 in sight; the area ends at 10 to 100 % of 0.08 to 300 %.
        assert 0.6 < shaded() < 0.9
        session.switch_model("pruned")
        session.settle()
        session.advance()
        assert shaded() == 0
    plotter.close()


def test_a_model_brings_the_band_that_lies_beside_it_where_it_is_its_own(tmp_path):
    record(tmp_path / "waves", packings=1)
    waves = WaveDataset(tmp_path / "waves", "test")
    model = surrogate.Forecaster(ForecasterConfig(ranks=(), substeps=2), GRID / 32)
    path = surrogate.save(model, tmp_path / "m.safetensors")
    band = Band(
        level=0.9, quantiles=(0.5, 0.6, 0.7), exponents=((0.1, -1.0),) * 3, media=9, fitted=3, keys=(),
        forecaster=fingerprint_of(model), trained_on=None, courant=GRID / 32, substeps=2, sides=waves.sides,
        grid=waves.grid, data="runs/others", waves=waves_of(waves),
    )  # fmt: skip
    band.save(band_file(path))
    with open_run(tmp_path, live=False) as session:
        assert "; a band of 0.9 over 3 frames, calibrated on 9 media of runs/others" in session.log[0]
        for _ in range(3):
            session.advance()
        start, medium = waves.window(0, 0, 1)[0], waves.medium(0)
        states = np.concatenate([start[None], surrogate.rollout(model, start, medium, 3)])
        assert np.array(session.bounds["m"])[:, 1] == pytest.approx(band.of(states, medium), rel=1e-3)
    replace(band, forecaster="another").save(band_file(path))
    with open_run(tmp_path, live=False) as session:
        session.advance()
        assert "; no band: the band is of the forecaster another" in session.log[0]
        assert session.bound is None and session.bounds == {"m": []}
