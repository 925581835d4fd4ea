"""Settings of the small forecasters that the tests of pruning share, and how their results are compared."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

import torch

from wavesim.config import TrainingConfig
from wavesim.pruning import METHODS, loop
from wavesim.pruning.plans import Plan
from wavesim.surrogate import Forecaster, load

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


def assert_alike(one, other):
    """Equal weights and zeros, to what sums lose in another order: torch's depends on where in memory a tensor lies."""
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], rtol=1e-4, atol=1e-6)
        assert torch.equal(weight == 0, other[name] == 0), name


def alike(one, other):
    """Rows that are equal, floats to the same."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6) if isinstance(one, float) else one == other


def timeless(rows):
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


@dataclass
class Seen:
    """The plan of the first cut, and the network of the last round, still with its zeros."""

    plan: Plan | None = None
    last: Forecaster | None = None


@contextmanager
def watched(method: str):
    """What is seen of a pruning by that method."""
    seen, parts, with_test = Seen(), METHODS[method], loop.with_test

    def plan(run, scores, survivors):
        found = parts.plan(run, scores, survivors)
        if len(run.rows) == 1 and "round" in run.rows[0]:  # not the rehearsal of the last round
            seen.plan = found
        return found

    def end(run, number, result):
        seen.last = copy.deepcopy(run.model)
        return with_test(run, number, result)

    with patch.dict(METHODS, {method: replace(parts, plan=plan)}), patch.object(loop, "with_test", end):
        yield seen
