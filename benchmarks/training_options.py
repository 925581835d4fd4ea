"""What the options of a training are worth: each alone against the defaults, at equal optimiser steps.

    python benchmarks/training_options.py DATA OUT [--iterations 300] [--seeds 1] [--model one-way]
        [--options "muon, rate 0.02"]

DATA is a dataset, OUT a folder where each training stays: called again, with more seeds for instance, it goes on.
Errors are those of the rollouts that chose the weights, 32 frames of 8 validation trajectories.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavesim.config import TrainingConfig
from wavesim.provenance import machine
from wavesim.recipes import RecipeConfig, recipe
from wavesim.surrogate.checkpoint import read_header
from wavesim.training_run import train_run

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "ema 0.95": {"ema": 0.95},
    "noise 0.01": {"noise": 0.01},
    "loss_frames 4": {"loss_frames": 4},
    "loss_frames 1": {"loss_frames": 1},
    "bfloat16": {"precision": "bfloat16"},
    "rate 0.002": {"learning_rate": 0.002},
    "rate 0.01": {"learning_rate": 0.01},
    "muon, rate 0.005": {"optimizer": "muon", "learning_rate": 0.005},
    "muon, rate 0.02": {"optimizer": "muon", "learning_rate": 0.02},
    "muon, rate 0.05": {"optimizer": "muon", "learning_rate": 0.05},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--model", default="one-way", help="a name, or a file of settings, whose training counts too")
    parser.add_argument("--options", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; {date.today()}; {arguments.model}, {arguments.iterations} iterations; {arguments.data}\n")
    print("| option | validation error | seeds | seconds an iteration |\n| --- | ---: | ---: | ---: |")
    for name in arguments.options:
        own = recipe(arguments.model, RecipeConfig(training=TrainingConfig(validate_every=50)))
        changes = {"iterations": arguments.iterations, **VARIANTS[name]}
        own = own.model_copy(update={"training": own.training.model_copy(update=changes)})
        errors, seconds = [], []
        for seed in range(arguments.seeds):
            run = arguments.out / f"{Path(arguments.model).stem}_{name.replace(', ', '_').replace(' ', '_')}_{seed}"
            train_run(own, arguments.data, run, seed)
            errors.append(read_header(run / "model.safetensors")["about"]["validation_error"])
            seconds.append(float((run / "log.txt").read_text().split("whole after ")[-1].split()[0]))
        spread = f" ± {np.std(errors, ddof=1):.4f}" if len(errors) > 1 else ""
        each = np.mean(seconds) / arguments.iterations
        print(f"| {name} | {np.mean(errors):.4f}{spread} | {len(errors)} | {each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
