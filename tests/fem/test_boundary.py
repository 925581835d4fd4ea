"""The sides of a rectangle, against its standing modes."""

from __future__ import annotations

import numpy as np
import pytest
from exact.modes import Mode, PlaneWave

from wavesim.errors import WavesimError
from wavesim.fem import stepper, uniform
from wavesim.fem.boundary import Sides, unknowns
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import assemble

LENGTHS = (1.2, 0.9)
PLACES = np.random.default_rng(0).uniform((0, 0), LENGTHS, (500, 2))


def errors_of(exact, sides, elements, time, degree=4, steps=120):
    """Relative L2 errors of p and p_t over places that are no nodes, from time 0.3 on."""
    problem = assemble(uniform(), Nodes((elements, elements), degree, LENGTHS), time, (4, 4), sides, steps=steps)
    start = [problem.at_unknowns(lambda x, y, k=k: exact.fields(x, y, 0.3)[k]) for k in range(2)]
    frame = stepper.frame(problem.operator, stepper.advance(problem.operator, stepper.init(problem.operator, *start)))
    wanted = exact.fields(*PLACES.T, 0.3 + time)
    receivers = problem.at(PLACES)
    found = receivers @ frame.pressure, receivers @ frame.pressure_rate
    return [np.linalg.norm(f - w) / np.linalg.norm(w) for f, w in zip(found, wanted, strict=True)]


@pytest.mark.parametrize(
    ("across", "along"),
    [
        (("soft", "soft"), ("soft", "soft")),
        (("rigid", "soft"), ("soft", "rigid")),
        (("periodic", "periodic"), ("rigid", "rigid")),
        (("soft", "soft"), ("periodic", "periodic")),
        (("periodic", "periodic"), ("periodic", "periodic")),
    ],
)
def test_standing_modes_converge_with_the_order_of_the_elements_between_all_kinds_of_sides(across, along):
    mode = Mode((2, 1), across, along, LENGTHS, phases=(0.4, 1.1, 0.2))
    time = 0.8 * 2 * np.pi / mode.frequency
    errors = np.array([errors_of(mode, Sides(*across, *along), n, time) for n in (4, 8)])
    assert np.all(np.log2(errors[0] / errors[1]) > 4.6), errors
    assert np.all(errors[1] < 2.5e-4), errors  # 4 to 8 elements a wavelength


def test_a_plane_wave_leaves_at_one_side_and_comes_in_at_the_other():
    wave = PlaneWave((2, -1), LENGTHS)
    errors = np.array([errors_of(wave, Sides.all("periodic"), n, 1.7, steps=300) for n in (6, 12)])
    assert np.all(np.log2(errors[0] / errors[1]) > 4.6), errors
    assert np.all(errors[1] < 3e-5), errors


def test_a_node_and_its_periodic_images_are_one_unknown_and_soft_nodes_are_none():
    nodes = Nodes((3, 2), 2)
    x, y = np.meshgrid(nodes.x, nodes.y)
    points = np.column_stack([x.ravel(), y.ravel()])
    columns, rows = nodes.shape[1], nodes.shape[0]
    assert unknowns(points, Sides()).shape[1] == columns * rows
    assert unknowns(points, Sides.all("periodic")).shape[1] == (columns - 1) * (rows - 1)
    assert unknowns(points, Sides.all("soft")).shape[1] == (columns - 2) * (rows - 2)
    mixed = unknowns(points, Sides("periodic", "periodic", "soft", "rigid"))
    assert mixed.shape[1] == (columns - 1) * (rows - 1)
    copied = mixed @ np.arange(mixed.shape[1]) + 1.0
    field = copied.reshape(rows, columns)
    np.testing.assert_array_equal(field[1:, 0], field[1:, -1])
    assert np.all(mixed.sum(axis=1).A1.reshape(rows, columns)[0] == 0)


def test_sides_that_cannot_be_are_refused():
    with pytest.raises(WavesimError, match="unknown side 'hard'; allowed: rigid, soft, periodic, absorbing"):
        Sides(left="hard")
    with pytest.raises(WavesimError, match="both or none are periodic"):
        Sides(left="periodic")
    with pytest.raises(WavesimError, match="needs at least one element"):
        assemble(uniform(), Nodes((4, 4), 2), 0.1, (4, 4), Sides(top="absorbing"))
