"""A pruning method is a composition of four parts; `methods/` holds one short file for each published one.

    score      what is worth keeping: scores of a forecaster's weights or units
    quota      how much goes this round: from scores and survivors to fewer survivors
    plan       what is cut from the network for that: a Mask or a Keep
    hooks      what happens while the network trains: Lightning callbacks for the plan
The restart, rewind or fine-tune, is a setting that every method obeys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lightning

from wavesim.config import PruningConfig
from wavesim.pruning.plans import Plan
from wavesim.pruning.quotas import Survivors
from wavesim.pruning.scores import Scores
from wavesim.surrogate import Forecaster


def no_hooks(plan: Plan) -> Sequence[lightning.Callback]:
    """What is cut out needs no care in training."""
    return ()


@dataclass(frozen=True)
class Method:
    """One method; `reference` says where it was published, or that it was not."""

    name: str
    reference: str
    score: Callable[[Forecaster], Scores]
    quota: Callable[[Scores, Survivors, PruningConfig], Survivors]
    plan: Callable[[Scores, Survivors, PruningConfig], Plan]
    hooks: Callable[[Plan], Sequence[lightning.Callback]] = no_hooks
