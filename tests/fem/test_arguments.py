"""What cannot be assembled is refused with what was got and what is allowed, not by what lies below."""

from __future__ import annotations

import numpy as np
import pytest
from exact.meshes import warped

from wavesim.errors import WavesimError
from wavesim.fem import Burst, Nodes, Ricker, Sides, assemble, uniform
from wavesim.fem.batch import assemble_batch
from wavesim.preset_config import CavityConfig

NODES = Nodes((4, 4), 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": 3}, "order 3 of the time steps is not one of 2.* and 4"),
        ({"interval": 0}, "frame interval 0 must be positive and finite"),
        ({"interval": -0.1}, "frame interval -0.1 must"),
        ({"interval": np.nan}, "frame interval nan must"),
        ({"interval": np.inf}, "frame interval inf must"),
        ({"steps": 2.5}, r"steps 2\.5 must be a whole number, 1 or more"),
        ({"steps": 0}, "steps 0 must"),
        ({"steps": -3}, "steps -3 must"),
        ({"degree": 0, "mesh": warped(2)}, "degree 0 must be a whole number"),
        ({"degree": 10, "mesh": warped(2)}, "degree 10 is not one of 1 to 9"),
    ],
)
def test_times_orders_and_degrees_that_there_are_not_are_refused(settings, message):
    with pytest.raises(WavesimError, match=message):
        assemble(**{"medium": uniform(), "mesh": NODES, "interval": 0.1, "grid": (8, 8), **settings})


def test_steps_may_be_any_whole_number():
    assert assemble(uniform(), NODES, 0.1, (8, 8), steps=np.int64(40)).operator.steps == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 4), 0), "degree 0 must be a whole number, 1 or more"),
        (((4, 4), 2.5), r"degree 2\.5 must be a whole number"),
        (((4, 4), 10), "degree 10 is not one of 1 to 9; use more elements"),
        (((0, 4), 2), "elements 0 must be a whole number, 1 or more"),
        (((4, 4), 2, (-1.0, 1.0)), r"length -1\.0 must be positive"),
    ],
)
def test_nodes_that_there_are_not_are_refused(arguments, message):
    with pytest.raises(WavesimError, match=message):
        Nodes(*arguments)


@pytest.mark.parametrize(("degree", "sides", "left"), [(1, "soft", 0), (1, "periodic", 1), (2, "soft", 1)])
def test_sides_that_leave_no_wave_are_refused_alone_and_in_a_batch(degree, sides, left):
    """Of the (degree + 1)^2 nodes of one element, soft sides leave (degree - 1)^2 and periodic ones degree^2."""
    message = f"the sides leave {left} unknowns, .* use more elements"
    with pytest.raises(WavesimError, match=message):
        assemble(uniform(), Nodes((1, 1), degree), 0.1, (8, 8), Sides.all(sides))
    config = CavityConfig(elements=(1, 1), degree=degree, sides=(sides,) * 4)
    with pytest.raises(WavesimError, match=message):
        assemble_batch(config, [uniform(), uniform(2.0)])


@pytest.mark.parametrize("frequency", [0, -6.0, np.nan])
def test_a_wavelet_without_a_frequency_is_refused(frequency):
    with pytest.raises(WavesimError, match=f"frequency of a wavelet {frequency} must be positive"):
        Ricker(frequency)
    with pytest.raises(WavesimError, match=f"frequency of a burst {frequency} must be positive"):
        Burst((0.5, 0.5), 0.1, frequency)
