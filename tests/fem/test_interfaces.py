"""Jumps of the medium against exact waves: a plane pulse at any angle, total reflection, and a stack of layers."""

from __future__ import annotations

import numpy as np
import pytest
from exact.interface import InterfaceWave
from exact.layers import LayeredWave
from exact.matter import Matter
from exact.profiles import gaussian

from wavesim.fem import Medium, stepper
from wavesim.fem.boundary import Sides
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import assemble


def error_of(wave, elements, time, places, lengths, sides=None, degree=4):
    """The largest error of p at places, over the largest |p| at the start."""
    medium = Medium(wave.bulk_modulus, wave.density)
    problem = assemble(medium, Nodes(elements, degree, lengths), time, (4, 4), sides or Sides())
    start = [problem.at_unknowns(lambda x, y, k=k: wave.fields(x, y, 0.0)[k]) for k in range(2)]
    state = stepper.advance(problem.operator, stepper.init(problem.operator, *start))
    wanted = wave.fields(*places.T, time)[0]
    return np.abs(problem.at(places) @ state.pressure - wanted).max() / np.abs(start[0]).max()


CONTRASTS = [Matter(4.0, 1.0), Matter(9.0, 1.0), Matter(20.0, 5.0), Matter(0.25, 1.0), Matter(1.0, 4.0)]


@pytest.mark.parametrize("second", CONTRASTS, ids=str)
@pytest.mark.parametrize("degrees", [0, 12, 35, 60])
def test_a_plane_pulse_is_reflected_and_transmitted_as_fresnels_formulas_say(second, degrees):
    # Compared where nothing from the walls has arrived: further from them than the fastest wave has come. The angles
    # beyond arcsin(c1 / c2), 30 degrees at (4, 1), are those of total reflection, with its evanescent wave.
    time = 0.1
    reach = time * max(second.wave_speed, 1.0) + 0.15
    middle = np.array([0.6, 0.5])
    places = np.random.default_rng(0).uniform((reach, reach), (1.2 - reach, 1 - reach), (400, 2))
    wave = InterfaceWave(gaussian(0.05, center=-0.08), second, angle=np.radians(degrees), point=tuple(middle))
    errors = [error_of(wave, (6 * n, 5 * n), time, places, (1.2, 1.0)) for n in (4, 8)]
    assert np.log2(errors[0] / errors[1]) > 3.5, errors
    assert errors[1] < 2e-3, errors


def test_a_pulse_goes_through_a_stack_of_layers_as_its_bounces_say():
    wave = LayeredWave(
        gaussian(0.03, center=0.2),
        (0.0, 0.5, 0.625, 0.75, 1.0),
        (Matter(), Matter(20, 5), Matter(2, 1), Matter(4, 1)),
        ("rigid", "rigid"),
    )
    places = np.column_stack([np.linspace(0.05, 0.95, 181), np.full(181, 0.01)])
    sides = Sides("rigid", "rigid", "periodic", "periodic")
    errors = [error_of(wave, (n, 1), 0.25, places, (1.0, 1.0 / n), sides) for n in (24, 48)]
    assert np.log2(errors[0] / errors[1]) > 3.5, errors
    assert errors[1] < 2e-4, errors
