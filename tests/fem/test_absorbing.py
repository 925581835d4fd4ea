"""The absorbing layer: what comes back from it, free space, and no growth, ever."""

from __future__ import annotations

import numpy as np
import pytest
from exact.green import PointSource as ExactSource
from exact.profiles import ricker
from exact.pulse import PulseAtRest

from wavesim.errors import WavesimError
from wavesim.fem import Pulse, absorbing, packing, stepper, uniform
from wavesim.fem.boundary import Sides
from wavesim.fem.extent import Extent
from wavesim.fem.sampling import Nodes, cell_centres
from wavesim.fem.simulation import assemble, listen
from wavesim.fem.source import PointSource, Ricker

CHANNEL = Sides("absorbing", "absorbing", "periodic", "periodic")
GRAINS = packing(
    np.array([[0.2, 0.3], [0.7, 0.6], [0.4, 0.9], [0.99, 0.2]]), np.array([0.2, 0.25, 0.15, 0.1]), 20.0, 5.0, 0.06
)


class Packet:
    """A packet of plane waves in a channel that is periodic along y, all of it travelling right: exact, by Fourier.

    Each wavenumber q along x has omega = sqrt(q^2 + k_y^2) > 0; its mean wave meets the layer at `angle`.
    """

    def __init__(self, wavelength, angle, place, spread):
        k = 2 * np.pi / wavelength
        self.across, self.place, points = k * np.sin(angle), place, 8192
        length = 90 * spread
        self.q = 2 * np.pi * np.fft.fftfreq(points, length / points)
        x = (np.arange(points) - points // 2) * (length / points)
        self.amplitudes = np.fft.fft(np.exp(-(x**2) / (2 * spread**2) + 1j * k * np.cos(angle) * x)) / points
        self.amplitudes *= np.exp(-1j * self.q * x[0])
        self.amplitudes[(self.q <= 0) | (np.abs(self.amplitudes) < 1e-14)] = 0
        kept = np.flatnonzero(self.amplitudes)
        self.q, self.amplitudes = self.q[kept], self.amplitudes[kept]
        self.omega = np.hypot(self.q, self.across)

    def field(self, x, y, factor=1.0):
        columns, where = np.unique(x, return_inverse=True)
        line = np.exp(1j * np.outer(columns - self.place, self.q)) @ (self.amplitudes * factor)
        return np.real(line[where.reshape(x.shape)] * np.exp(1j * self.across * y))

    def rate(self, x, y):
        return self.field(x, y, -1j * self.omega)


def reflected(angle, elements_per_wavelength, wavelength=0.1):
    """The largest |p| that should not be there after the packet has met the layer, over its amplitude."""
    packet = Packet(wavelength, angle, 1.5, 2 * wavelength)
    width, height = 3.0, wavelength if angle == 0 else wavelength / np.sin(angle)
    size = wavelength / elements_per_wavelength
    nodes = Nodes((round(width / size), max(1, round(height / size))), 4, (width, height))
    problem = assemble(uniform(), nodes, 0.1, (8, 240), CHANNEL, layer=elements_per_wavelength)
    state = stepper.init(problem.operator, problem.at_unknowns(packet.field), problem.at_unknowns(packet.rate))
    # Until its tail, four spreads behind, has been to the layer and back over half of the channel.
    frames = round(10 * ((1.5 + 8 * wavelength) / np.cos(angle) + 1.5))
    for _ in range(frames):
        state = stepper.advance(problem.operator, state)
    # Steep waves of the packet are slow and still on their way: they belong there.
    x, y = np.meshgrid(cell_centres(240, width), cell_centres(8, height))
    receivers = problem.at(np.column_stack([x.ravel(), y.ravel()]))
    wanted = packet.field(x, y, np.exp(-1j * packet.omega * 0.1 * frames)).ravel()
    return np.abs(receivers @ state.pressure - wanted).max() / np.abs(problem.at_unknowns(packet.field)).max()


# What is asked of a layer of one wavelength: 1e-3 at normal incidence, 1e-2 at 60 degrees.
@pytest.mark.parametrize(
    ("degrees", "elements", "bound"),
    [(0, 3, 1e-3), (30, 3, 1e-3), (60, 3, 2e-3), (0, 4, 1e-4), (30, 4, 1e-4), (60, 4, 2e-3), (75, 4, 5e-2)],
)
def test_a_layer_of_one_wavelength_sends_next_to_nothing_back(degrees, elements, bound):
    assert 1e-6 < reflected(np.radians(degrees), elements) < bound


def test_a_wall_in_the_layers_place_would_be_seen(monkeypatch):
    monkeypatch.setattr(absorbing, "damping", lambda extent, points, *_: np.zeros((2, len(points))))
    assert reflected(0.0, 2) > 0.5


def test_a_pulse_in_the_open_is_the_exact_one_corners_included():
    width, place = 0.06, (0.45, 0.6)
    problem = assemble(uniform(), Nodes((16, 16), 4), 0.1, (32, 32), Sides.all("absorbing"), layer=5)
    exact, places = PulseAtRest(place, width), np.random.default_rng(0).uniform(0, 1, (60, 2))
    state = stepper.init(problem.operator, problem.at_unknowns(Pulse(place, width)))
    receivers, worst = problem.at(places), 0.0
    for frame in range(1, 19):
        state = stepper.advance(problem.operator, state)
        wanted = exact.fields(*places.T, 0.1 * frame)[0]
        worst = max(worst, np.abs(receivers @ state.pressure - wanted).max())
    assert worst < 1e-3


def test_a_point_source_in_the_open_is_the_greens_function():
    width, place = 0.06, (0.4, 0.55)
    source = PointSource(place, Ricker(1 / (np.sqrt(2) * np.pi * width), 0.5))
    places = np.array([[0.95, 0.95], [0.05, 0.5], [0.7, 0.1], [0.55, 0.75]])
    problem = assemble(uniform(), Nodes((16, 16), 4), 1.0, (4, 4), Sides.all("absorbing"), layer=4, sources=[source])
    traces = listen(problem, stepper.init(problem.operator, np.zeros(problem.operator.mass.size)), places, 2)
    wanted = ExactSource(ricker(width, 0.5), place).fields(*places.T, traces.times)[0]
    assert np.linalg.norm(traces.pressure - wanted) < 1e-3 * np.linalg.norm(wanted)


@pytest.mark.parametrize("medium", [uniform(), GRAINS], ids=["uniform", "grains"])
@pytest.mark.parametrize("order", [2, 4])
def test_noise_does_not_grow_over_fifty_thousand_steps(medium, order):
    problem = assemble(medium, Nodes((6, 6), 4), 0.1, (4, 4), Sides.all("absorbing"), layer=2, order=order)
    # At the very limit of the step: nothing in hand but the margin of the eigenvalue.
    operator = problem.operator
    state = stepper.init(operator, np.random.default_rng(0).standard_normal(operator.mass.size))
    first, peaks = np.linalg.norm(state.pressure), []
    for _ in range(5):
        peak = 0.0
        for k in range(10_000):
            state = stepper.step(operator, state)
            if k % 50 == 0:
                peak = max(peak, np.linalg.norm(state.pressure) / first)
        peaks.append(peak)
    assert peaks[0] < 2 and peaks[-1] <= 1.01 * peaks[1], peaks


@pytest.mark.parametrize("time", [0.3, 0.9])
def test_the_step_keeps_its_order_until_the_layer_is_met_and_the_second_after(time):
    # p on one mesh for steps h, h/2, h/4 and h/16, which stands for the limit: its own error is 1/256 or less of h's.
    width, place, fields = 0.08, (0.55, 0.5), []
    fewest = None
    for factor in (1, 2, 4, 16):
        nodes, sides = Nodes((10, 10), 4), Sides.all("absorbing")
        steps = None if fewest is None else factor * fewest
        problem = assemble(uniform(), nodes, time, (20, 20), sides, layer=3, steps=steps)
        fewest = fewest or problem.operator.steps
        state = stepper.init(problem.operator, problem.at_unknowns(Pulse(place, width)))
        fields.append(problem.sampling @ stepper.advance(problem.operator, state).pressure)
    errors = [np.linalg.norm(field - fields[-1]) for field in fields[:3]]
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    if time < 0.4:  # the pulse has not arrived
        assert np.all(slopes > 3.5), (errors, slopes)
    else:
        assert np.all(slopes > 1.8), (errors, slopes)
        assert errors[0] < 2e-3 * np.linalg.norm(fields[-1]), errors


def test_a_pulse_that_joins_a_wave_in_the_layer_is_superposed():
    problem = assemble(uniform(), Nodes((6, 6), 4), 0.2, (4, 4), Sides.all("absorbing"), layer=2)
    first, second = (
        stepper.init(problem.operator, problem.at_unknowns(Pulse(place, 0.1))) for place in ((0.1, 0.5), (0.8, 0.7))
    )
    first = stepper.advance(problem.operator, first)
    apart = [stepper.advance(problem.operator, state).pressure for state in (first, second)]
    together = stepper.advance(problem.operator, stepper.superposed(first, second)).pressure
    assert np.abs(together - sum(apart)).max() < 1e-13


def test_a_reflection_that_cannot_be_is_refused():
    with pytest.raises(WavesimError, match="must lie between 0 and 1"):
        absorbing.damping(Extent((0, 0), (1, 1), (0.5, 0, 0, 0)), np.zeros((1, 2)), 1.0, 2.0)
