"""Settings of the small forecasters that the tests of pruning share, and how their results are compared."""

import torch

from wavesim.config import TrainingConfig
from wavesim.surrogate import load

TRAINING = TrainingConfig(unrolls=(1, 2), shares=(0.5, 0.5), iterations=16, batch=2, learning_rate=4e-3)
SMALL = {"width": 16, "kernel_size": 3, "ranks": (8, 8), "encoder_width": 8, "encoder_ranks": (4, 6), "substeps": 2}
FAMILIES = ("one-way", "classical")
TIMES = ("seconds", "milliseconds", "masked_milliseconds")


class Killed(Exception):
    pass


def weights_of(path):
    return load(path).network.state_dict()


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def timeless(rows):
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]
