"""Finite elements as a competitor on a domain that is no square: the stored truth, and coarser runs of the same."""

import numpy as np
import pytest

from wavesim.dataset import WaveDataset
from wavesim.fem import generate_dataset
from wavesim.fem.ladder import pressure, rung
from wavesim.preset_config import RandomConfig

CONFIG = RandomConfig(
    lengths=(1.5, 1.0), grid=(24, 16), elements=(12, 8), frames=6, frame_interval=0.05, pulse_width=0.1, shard=1,
    correlation_length=0.3, verified=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    out = tmp_path_factory.mktemp("random")
    generate_dataset(CONFIG, out, 3, seed=5, workers=1, progress=False)
    data = WaveDataset(out, "test")
    return (*data.place(0), data.trajectory(0).state[1:, 0])


def test_at_the_truths_own_resolution_it_is_the_truth(place):
    path, row, truth = place
    np.testing.assert_allclose(pressure(path, row, 12, 4), truth, atol=2e-5 * np.abs(truth).max())


def test_its_error_falls_with_its_elements_and_these_keep_the_shares_of_the_sides(place):
    path, row, truth = place
    errors = []
    for elements in (6, 12):
        ready = rung(path, row, elements, 2)
        assert ready.sampling.shape == (16 * 24, (2 * elements + 1) * (2 * elements * 2 // 3 + 1))
        errors.append(np.linalg.norm(pressure(path, row, elements, 2) - truth) / np.linalg.norm(truth))
    assert errors[1] < errors[0] / 3 and errors[0] < 0.3
