"""The share that a grid cannot hold, against closed forms and against dense sampling."""

import numpy as np
import pytest

from wavesim.fem import Nodes, Sides, assemble, uniform, unresolved
from wavesim.fem.batch import simulate_all
from wavesim.fem.presets import draw
from wavesim.fem.sampling import cell_centres
from wavesim.fem.simulation import next_frame, run, start
from wavesim.preset_config import RandomConfig
from wavesim.provenance import generator


@pytest.mark.parametrize(("m", "n"), [(3, 0), (0, 2), (3, 2), (7, 5)])
def test_the_share_of_a_standing_mode_is_that_of_its_cell_averages(m, n):
    """The average of cos(k x) over a cell of width h is cos(k x_c) sin(k h/2) / (k h/2), and the projection is
    orthogonal: share^2 = 1 - prod over the axes of (sin(k h/2) / (k h/2))^2."""
    nodes, grid = Nodes((10, 7), 6, (1.5, 1.0)), (12, 18)
    ready = assemble(uniform(), nodes, 0.01, grid)
    state = start(ready, lambda x, y: np.cos(m * np.pi * x / 1.5) * np.cos(n * np.pi * y))
    share = run(ready, state, 1)[0].unresolved_share
    held = np.sinc(m / (2 * 18)) * np.sinc(n / (2 * 12))
    assert share[0] == pytest.approx(np.sqrt(1 - held**2), rel=1e-5)


@pytest.mark.parametrize(
    "sides",
    [Sides(), Sides("periodic", "periodic", "soft", "rigid"), Sides("absorbing", "rigid", "rigid", "absorbing")],
)
def test_the_share_is_the_distance_to_the_averages_over_the_rectangle(sides):
    """By dense point values: the field at 40 x 40 points of each cell, less the cell's stored average."""
    grid, lengths = (5, 8), (1.5, 1.0)
    ready = assemble(uniform(), Nodes((7, 5), 4, lengths), 0.1, grid, sides, layer=2)
    state = start(ready, lambda x, y: np.exp(-((x - 0.6) ** 2 + (y - 0.5) ** 2) / 0.03))
    simulation = run(ready, state, 3)[0]
    y, x = cell_centres(40 * grid[0], 1.0), cell_centres(40 * grid[1], 1.5)
    places = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 2)
    for frame in range(3):
        state = next_frame(ready, state) if frame else state
        dense = (ready.at(places) @ state.pressure).reshape(5, 40, 8, 40)
        rest = dense - simulation.pressure[frame][:, None, :, None]
        expected = np.linalg.norm(rest) / np.linalg.norm(dense)
        assert simulation.unresolved_share[frame] == pytest.approx(expected, rel=1e-3)


def test_the_share_falls_with_the_size_of_the_cells_and_is_safe_in_single_precision():
    shares = []
    for cells in (16, 32, 64):
        config = RandomConfig(grid=(cells, cells), elements=(16, 16), frames=4, frame_interval=0.1, pulse_width=0.08)
        media, pulses = zip(*(draw(config, generator(0, "waves", k)) for k in range(2)), strict=True)
        shares.append(np.stack([one.unresolved_share for one in simulate_all(config, media, pulses)]))
    np.testing.assert_allclose(shares[0] / shares[1], 2, rtol=0.1)
    np.testing.assert_allclose(shares[1] / shares[2], 2, rtol=0.03)


def test_nothing_has_no_share():
    assert unresolved.share(np.zeros(1), np.zeros((4, 1)), (1.0, 1.0)).tolist() == [0]
