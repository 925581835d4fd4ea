"""Where pruning stands, and all that a method may look at.

model       the forecaster as it stands, after the last round's training
dense       as it came, cut like the model; what one-shot methods rank
initial     before any training, cut like the model; none where the file does not say from which seed it came
early       where restarts rewind: `initial`, or some optimiser steps after it
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from wavesim.config import PruningConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.provenance import generator
from wavesim.pruning.materialise import apply
from wavesim.pruning.plans import Mask, Plan
from wavesim.pruning.quotas import Survivors
from wavesim.pruning.scores import Scores
from wavesim.surrogate import Forecaster
from wavesim.surrogate.data import VALIDATION_TRAJECTORIES, Windows, validation_batch
from wavesim.surrogate.unrolled import rollout_errors
from wavesim.well_dataset import open_split

Row = dict[str, Any]
Lifetimes = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Job:
    """What stays the same over all rounds. folder: where the run is kept until it is whole."""

    pruning: PruningConfig
    training: TrainingConfig
    data: Path
    seed: int
    device: str
    folder: Path
    settings: str

    def errors(self, model: Forecaster, split: str = "valid") -> tuple[float, float]:
        """As `errors_on`, of the run's data."""
        return errors_on(model, self.data, split)


TESTED = 32


def errors_on(model: Forecaster, data: Path, split: str) -> tuple[float, float]:
    """Relative L2 of the pressure after one frame, and in the mean over 32, of 8 trajectories of a split; of 32 of
    the test split, which is looked at once."""
    count = TESTED if split == "test" else VALIDATION_TRAJECTORIES
    found = rollout_errors(model, *validation_batch(open_split(data, split), count))
    return float(found[0].mean()), float(found.mean())


@dataclass(frozen=True)
class Run:
    """See above.

    survivors: what is left of what the method scores. lifetimes: parameter -> uint8 of its shape, in how many rounds
    each weight was left; empty where units are cut. scores: what an approach left to be scored.
    """

    job: Job
    model: Forecaster
    survivors: Survivors
    dense: Forecaster
    initial: Forecaster | None
    early: Forecaster | None
    lifetimes: Lifetimes = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    scores: Scores | None = None

    @property
    def settings(self) -> PruningConfig:
        """Those of the pruning."""
        return self.job.pruning

    @property
    def number(self) -> int:
        """Of the round in hand; the first one is 1."""
        return len(self.rows)

    def beginning(self) -> Forecaster:
        """The forecaster before its training.

        Raises:
            WavesimError: nobody knows it.
        """
        if self.initial is None:
            raise WavesimError(
                f"method '{self.settings.method}' with restart = '{self.settings.restart}' needs the weights before "
                "training, and this model's file does not say from which seed it was trained from scratch; give a "
                "model of `wavesim train`, or set restart = 'fine-tune'"
            )
        return self.initial

    def generator(self, *names: str | int) -> torch.Generator:
        """Random numbers of this round for one purpose: a function of the run's seed, the round and the names."""
        seed = int(generator(self.job.seed, "pruning", self.number, *names).integers(2**31))
        return torch.Generator().manual_seed(seed)

    def batches(self, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """States (batch, time, 2, y, x) and media (batch, 2, y, x) of windows that train, as many batches as asked for.

        The windows are the shortest that training takes.
        """
        training = self.job.training
        windows = Windows(open_split(self.job.data, "train"), training.unrolls[0] + 1, self.job.seed)
        chosen = [list(range(i * training.batch, (i + 1) * training.batch)) for i in range(count)]
        return iter(DataLoader(windows, batch_sampler=chosen))

    def cut(self, plan: Plan, survivors: Survivors) -> Run:
        """The run after a plan was carried out on every network of it."""
        cut = partial(apply, plan=plan)
        left, lifetimes = survivors, {}
        if isinstance(plan, Mask):
            lifetimes = {name: self.lifetimes.get(name, 0) + here.to(torch.uint8) for name, here in left.items()}
        else:
            left = {group: values[plan.units[group]] for group, values in left.items()}
        return replace(
            self,
            model=cut(self.model),
            survivors=left,
            dense=cut(self.dense),
            initial=cut(self.initial) if self.initial else None,
            early=cut(self.early) if self.early else None,
            lifetimes=lifetimes,
            scores=None,
        )

    def restarted(self) -> Forecaster:
        """A copy of the network that retraining starts from."""
        if self.settings.restart == "fine-tune":
            return copy.deepcopy(self.model)
        self.beginning()
        assert self.early is not None  # there is one wherever there is a beginning
        return copy.deepcopy(self.early)
