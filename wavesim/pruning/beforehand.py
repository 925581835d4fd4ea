"""What is known of a pruning before it begins: that it is whole already, that it would overwrite something, or that one
of its rounds could not be done. Whatever is refused here has written nothing and trained nothing.

The last round asks for most: the smallest density, the most rounds of a model whose counts are taken. So it is tried
on the network as it came, up to where it would train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning

from wavesim.config import PruningConfig, TrainingConfig, parse
from wavesim.errors import WavesimError
from wavesim.provenance import file_hash
from wavesim.pruning.method import Method
from wavesim.pruning.methods import METHODS
from wavesim.pruning.plans import is_cut
from wavesim.pruning.quotas import everything
from wavesim.pruning.run import Row, Run
from wavesim.pruning.store import read_rows, rows_beside
from wavesim.settings import differences
from wavesim.surrogate import Forecaster
from wavesim.surrogate.checkpoint import read_header


def require_apart(out: Path, model: Path, pruning: PruningConfig) -> None:
    """Raises WavesimError where the result would take the place of what it is made from."""
    others = {"regressor": pruning.regressor, "model whose counts are taken": pruning.like}
    for what, path in {"forecaster to prune": model, **others}.items():
        if path and (out.resolve() == path.resolve() or rows_beside(out).resolve() == rows_beside(path).resolve()):
            raise WavesimError(f"{out} would overwrite the {what}, or the rows beside it; give the result another name")


def require_fit(model: Forecaster, method: Method) -> None:
    """Raises WavesimError for a method of units where the network is not cut in them, and says which methods fit it."""
    if method.cuts_weights or is_cut(model):
        return
    others = ", ".join(name for name, other in METHODS.items() if other.cuts_weights)
    raise WavesimError(
        f"method '{method.name}' cuts ranks and channels, and a forecaster with network '{model.config.network}' and "
        f"convolution '{model.config.convolution}' is not cut in units; set method to one that cuts single weights, "
        f"which makes the file smaller and the forecast no faster: {others}"
    )


def require_adam(pruning: PruningConfig, training: TrainingConfig) -> None:
    """Raises WavesimError where a method steps by the moments of Adam and training has another optimizer."""
    if pruning.method == "espn" and training.optimizer != "adam":
        raise WavesimError(
            f"method 'espn' closes its gates by the moments that Adam has of them, and training has optimizer "
            f"'{training.optimizer}'; set optimizer = 'adam', or take another method"
        )


def require_rewind(pruning: PruningConfig) -> None:
    """Raises WavesimError for steps to rewind to where restarts do not rewind."""
    if pruning.restart != "rewind" and pruning.rewind_to:
        raise WavesimError(
            f"rewind_to {pruning.rewind_to} means nothing to method '{pruning.method}' with restart = "
            f"'{pruning.restart}', which goes on from the trained weights; leave rewind_to at 0, or set restart = "
            "'rewind'"
        )


def sources_of(pruning: PruningConfig) -> dict[str, str]:
    """SHA-256 of the files, besides model and data, that the result is a function of; of those that are there."""
    files = {"like": pruning.like and rows_beside(pruning.like), "regressor": pruning.regressor}
    return {name: file_hash(path) for name, path in files.items() if path and path.is_file()}


def rows_of_whole(out: Path, told: Mapping[str, Any]) -> list[Row] | None:
    """The rows of the result at OUT where an earlier call made it of the same things; None where there is none.

    Args:
        told: pruning, training, seed, pruned_from, sources and data (its hash). What an older file does not tell of
            counts as the same.
    Raises:
        WavesimError: OUT is something else, or was made with other settings.
    """
    if not out.exists():
        return None
    otherwise = "give another --out, or move that file away"
    about = read_header(out)["about"]
    if "pruning" not in about:
        raise WavesimError(f"{out} is there and no result of a pruning; {otherwise}")
    found = {key: about.get(key, value) for key, value in told.items()}
    for name, kind in (("pruning", PruningConfig), ("training", TrainingConfig)):
        found[name] = parse(found[name], kind, str(out)).model_dump(mode="json")
    if isinstance(found["data"], dict):
        found["data"] = found["data"]["hash"]
    if changed := differences(found, told):
        raise WavesimError(f"{out} was made with other settings ({', '.join(changed)}); {otherwise}")
    return read_rows(out)


def require_every_round(run: Run, method: Method) -> None:
    """Raises WavesimError for what any round would refuse."""
    scores = method.score(run)
    counts = {name: values.numel() for name, values in scores.items()}
    assert run.settings.rounds is not None  # the loop has put in the method's own
    last = replace(run, survivors=everything(scores), rows=({"counts": counts},) * run.settings.rounds)
    if method.approach:
        with suppress(_Ready):
            method.approach(last, _ready)
    method.plan(last, scores, method.quota(last, scores))


class _Ready(Exception):
    """Nothing speaks against the training that would begin now."""


def _ready(model: Forecaster, callbacks: Sequence[lightning.Callback]) -> None:
    raise _Ready
