"""A pruning method is a composition of parts; `methods/` holds one short file for each published one.

    approach   training before the cut, by which the network shows what can go (growing penalties, gates, regrowth)
    score      what is worth keeping: scores of a forecaster's weights or units
    quota      how much goes this round: from scores and survivors to fewer survivors
    plan       what is cut from the network for that: a Mask or a Keep
    hooks      what happens while the network is trained after the cut: Lightning callbacks for the plan
    restart    where the training after the cut starts: at earlier weights, or where it stands
The restart is that of the publication; a setting overrides it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import lightning

from wavesim.pruning.parts import frozen, masked
from wavesim.pruning.plans import Plan
from wavesim.pruning.quotas import Survivors
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores
from wavesim.surrogate import Forecaster


class Fit(Protocol):
    """Train a forecaster in place as the run's settings say, with these callbacks, to the best weights validated.

    A callback that changes what is trained makes the module forget what was best before; see hooks.py.
    """

    def __call__(self, model: Forecaster, callbacks: Sequence[lightning.Callback]) -> None: ...


@dataclass(frozen=True)
class Method:
    """One method; `reference` says where it was published, or that it was not.

    restart, rounds: those of the publication. adaptive: an index says how much goes, and a density only how much may.
    approach: returns the run with the model that it trained and, where the
    model does not say it, `scores`. retrains: whether the network is trained after the cut; where it is not, the
    approach is the whole training, and starts where a restart says. cuts_weights: single ones, or whole units.
    """

    name: str
    reference: str
    score: Callable[[Run], Scores]
    quota: Callable[[Run, Scores], Survivors]
    restart: Literal["rewind", "fine-tune"]
    plan: Callable[[Run, Scores, Survivors], Plan] = masked
    hooks: Callable[[Run, Plan], Sequence[lightning.Callback]] = frozen
    approach: Callable[[Run, Fit], Run] | None = None
    rounds: int = 1
    adaptive: bool = False
    retrains: bool = True
    cuts_weights: bool = True

    @property
    def trainings(self) -> int:
        """In a round, at most."""
        return sum((self.approach is not None, self.retrains))
