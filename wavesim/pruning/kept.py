"""The run between two rounds, on disk: what a kill leaves, and who may go on from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.provenance import whole_file
from wavesim.pruning.run import Job, Run
from wavesim.surrogate import Forecaster

FORMAT = 4
NETWORKS = ("model", "dense", "initial", "early")


def keep(run: Run) -> None:
    """Write the run, whole or not at all."""
    networks = {name: getattr(run, name) for name in NETWORKS}
    content = {
        "format": FORMAT,
        "settings": run.job.settings,
        "config": run.model.config.model_dump_json(),
        "courant": run.model.courant,
        "networks": {name: model.state_dict() if model else None for name, model in networks.items()},
        "survivors": run.survivors,
        "lifetimes": run.lifetimes,
        "rows": list(run.rows),
    }
    with whole_file(_path(run.job)) as part:
        torch.save(content, part)


def resumed(job: Job) -> Run | None:
    """The run that an earlier call with the same settings left.

    Raises:
        WavesimError: one of other settings or of another version, or a file that is not whole: nobody's work is
            cleared away unasked.
    """
    if not _path(job).is_file():
        return None
    otherwise = f"delete {job.folder} to begin anew, or give another --out"
    try:
        content = torch.load(_path(job), weights_only=True)
        version = content.get("format")
    except Exception as error:  # whatever a half-written or a foreign file raises; none runs code
        raise WavesimError(
            f"{_path(job)} is not what a half-done pruning keeps ({type(error).__name__}); {otherwise}"
        ) from error
    if version != FORMAT:
        raise WavesimError(f"{job.folder} holds a half-done pruning of another version of wavesim; {otherwise}")
    if content.get("settings") != job.settings:
        raise WavesimError(
            f"{job.folder} holds a half-done pruning with other settings, model, data or seed; call with those to "
            f"finish it, {otherwise}"
        )
    try:
        return _run(job, content)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise WavesimError(f"{_path(job)} was changed after it was written ({error!r}); {otherwise}") from error


def _run(job: Job, content: dict[str, Any]) -> Run:
    config = ForecasterConfig.model_validate_json(content["config"])

    def forecaster(weights: dict[str, torch.Tensor] | None) -> Forecaster | None:
        if weights is None:
            return None
        model = Forecaster(config, content["courant"])
        model.load_state_dict(weights)
        return model.eval()

    networks: dict[str, Any] = {name: forecaster(weights) for name, weights in content["networks"].items()}
    states = {name: content[name] for name in ("survivors", "lifetimes")}
    return Run(job, rows=tuple(content["rows"]), **states, **networks)


def _path(job: Job) -> Path:
    return job.folder / "run.pt"
