"""What a forecaster was before its training, and some steps into it, made again from what its file says.

Frankle et al., Stabilizing the lottery ticket hypothesis, arXiv 1903.01611, rewind to those some steps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavesim.config import ForecasterConfig, TrainingConfig, parse
from wavesim.errors import WavesimError
from wavesim.pruning.hooks import StopAfter
from wavesim.surrogate import Forecaster
from wavesim.surrogate.checkpoint import read_header
from wavesim.surrogate.data import data_hash
from wavesim.surrogate.train import prepare, run, untrained
from wavesim.well_dataset import open_split


@dataclass(frozen=True)
class Beginning:
    """What its weights were drawn from, `training`, the settings by which they were trained, and the hash of the data.

    data: None where an older file does not tell.
    """

    config: ForecasterConfig
    courant: float
    seed: int
    training: dict[str, Any]
    data: str | None = None

    def initial(self) -> Forecaster:
        """Before any training, as `surrogate.train` drew it."""
        return untrained(self.config, self.courant, self.seed).eval()

    def later(self, steps: int, data: Path, folder: Path, device: str = "cpu") -> Forecaster:
        """After so many optimiser steps on `data`, as they were made first; `folder` is left to the caller.

        Raises:
            WavesimError: steps that its training did not have, or other data than it had.
        """
        model = self.initial()
        if steps:
            if self.data not in (None, trained_on(data)):
                raise WavesimError(
                    f"rewind_to {steps} takes the first steps of the training again, and {data} is another dataset "
                    f"(hash {trained_on(data)}) than the one of that training (hash {self.data}); give that one, or "
                    "rewind_to 0"
                )
            training = parse(self.training, TrainingConfig, "the training that the model's file tells of")
            if steps >= training.iterations:
                raise WavesimError(f"rewind_to {steps} is not before the end of the training of {training.iterations}")
            job = prepare(model, data, training, self.seed, folder, device, read=False)  # who prunes has had them read
            run(job, callbacks=[StopAfter(steps)])
        return model.eval()

    def text(self) -> str:
        """As a file's header holds it."""
        return json.dumps({**vars(self), "config": self.config.model_dump()}, sort_keys=True)


def beginning_of(model_path: Path) -> Beginning | None:
    """None for a file of a forecaster that was not trained from scratch, such as a pruned one."""
    header = read_header(model_path)
    about = header["about"]
    if "seed" not in about or "pruning" in about:
        return None
    data = about.get("data", {}).get("hash")
    return Beginning(header["config"], header["courant"], about["seed"], about.get("training", {}), data)


def trained_on(data: Path) -> str:
    """Twelve characters that change with the files of a dataset that training looks at."""
    train = open_split(data, "train")
    return data_hash(train.root, (train, open_split(data, "valid")))


def told(text: str, source: str) -> Beginning:
    """The beginning whose `text` this is."""
    content = json.loads(text)
    return Beginning(**{**content, "config": parse(content["config"], ForecasterConfig, source)})
