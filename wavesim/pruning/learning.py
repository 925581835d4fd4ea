"""What lifetimes of past prunings teach: a regressor, and how well it ranks weights that it has not seen.

    target = (lifetime - least) / (most - least) over a history, of features.py's two features of each weight
Held out are whole layers, a quarter of them at a time under the same name in every history, and, where there are
histories of several models, each whole model in turn. What is told is the Spearman rank correlation with the lifetimes
inside of a tensor, in the mean over the tensors held out, weighted by their sizes; tensors whose weights all lived
equally long have none. Beside it stand |theta| and |g theta|, scores that need no learning. The regressor that is
written learns from all.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from wavesim.config import PruningConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.provenance import generator
from wavesim.pruning.beginnings import Beginning, told, trained_on
from wavesim.pruning.features import features
from wavesim.pruning.regressor import Regressor, fitted, read_regressor, write_regressor
from wavesim.pruning.run import Job, Row, Run
from wavesim.pruning.store import lifetimes_beside, read_lifetimes

FOLDS = 4
SCORERS = ("regressor", "|theta|", "|g theta|")


@dataclass(frozen=True)
class Tensor:
    """One weight of one history. layer: its module. features: (weights, 2); lifetimes: (weights,), 0 to 1."""

    history: str
    model: str
    layer: str
    features: torch.Tensor
    lifetimes: torch.Tensor


def learn(results: Sequence[str | Path], data: str | Path, out: str | Path, seed: int = 0) -> list[Row]:
    """Learn from the lifetimes beside pruned models, and write the regressor OUT (a .safetensors path).

    Args:
        results: .safetensors files that `wavesim prune` made with restart = "rewind" and rewind_to 1 or more.
        data: what they were pruned on.
    Returns:
        what was held out, of how many weights, and rank correlations of the regressor, |theta| and |g theta|.
    Raises:
        WavesimError: no lifetimes, of another dataset, without a beginning or before any step, or all the same; a
            single layer.
    """
    if len(set(map(Path, results))) < len(results):
        raise WavesimError("the same pruned model is given twice; give each once")
    tensors = [tensor for result in results for tensor in examples(Path(result), Path(data), seed)]
    rows = [_row("layers", _apart(tensors, _by_layer(tensors, seed), seed))]
    models = dict.fromkeys(tensor.model for tensor in tensors)
    if len(models) > 1:
        for model in models:
            names = dict.fromkeys(tensor.history for tensor in tensors if tensor.model == model)
            held = [[tensor.model == model for tensor in tensors]]
            rows.append(_row(f"the model of {', '.join(names)}", _apart(tensors, held, seed)))
    sources = [{"name": Path(result).name, **read_lifetimes(result)[1]} for result in results]
    write_regressor(Path(out), _learned(tensors, seed), {"sources": sources, "held_out": rows, "seed": seed})
    return rows


def ranked(regressor: str | Path, result: str | Path, data: str | Path, seed: int = 0) -> Row:
    """How well a regressor ranks the lifetimes of a pruning that it did not learn from; a row as those of `learn`.

    Raises:
        WavesimError: no regressor, or as `learn`.
    """
    learned, _ = read_regressor(Path(regressor))
    return _row("the network", ((learned, tensor) for tensor in examples(Path(result), Path(data), seed)))


def examples(result: Path, data: Path, seed: int) -> list[Tensor]:
    """What one history teaches.

    Raises:
        WavesimError: as `learn`.
    """
    lifetimes, header = read_lifetimes(result)
    path = lifetimes_beside(result)
    if header["restart"] != "rewind" or not header["beginning"]:
        raise WavesimError(
            f"{path} tells nothing of weights before training: prune a model of `wavesim train` with restart = 'rewind'"
        )
    if header["rewind_to"] == "0":
        raise WavesimError(
            f"{path} is of weights before any step, whose gradients are zero in all layers but the last; prune with "
            "rewind_to 1 or more"
        )
    if header["data"] != trained_on(data):
        raise WavesimError(f"{path} is of another dataset than {data}; give the one that it was pruned on")
    before = told(header["beginning"], str(path))
    found = features(_run(before, header, data, seed))
    shapes = {name: values.shape[:-1] for name, values in found.items()}
    if shapes != {name: values.shape for name, values in lifetimes.items()}:
        raise WavesimError(f"{path} does not fit the network that its header tells of; it was changed: prune again")
    of_all = _flat(lifetimes.values())
    least, most = int(of_all.min()), int(of_all.max())
    if least == most:
        raise WavesimError(f"{path}: every weight was left in {most} rounds, which ranks none; prune further")
    model = hashlib.sha256(_flat(before.initial().state_dict().values()).numpy().tobytes()).hexdigest()
    return [
        Tensor(
            result.stem,
            model,
            name.rpartition(".")[0],
            found[name].flatten(end_dim=-2),
            (values.flatten().double() - least) / (most - least),
        )
        for name, values in lifetimes.items()
    ]


def _run(before: Beginning, header: Mapping[str, str], data: Path, seed: int) -> Run:
    """A run that stands where the history's restarts began."""
    steps = int(header["rewind_to"])
    training = TrainingConfig.model_validate_json(header["training"])
    with tempfile.TemporaryDirectory() as folder:
        early = before.later(steps, data, Path(folder))
    pruning = PruningConfig(restart="rewind", rewind_to=steps)
    job = Job(pruning, training, data, seed, "cpu", Path(folder), "")
    return Run(job, early, {}, early, early, early)


def _flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([values.flatten() for values in tensors])


def _by_layer(tensors: Sequence[Tensor], seed: int) -> list[list[bool]]:
    """Which tensors are held out, fold by fold."""
    layers = sorted({tensor.layer for tensor in tensors})
    if len(layers) < 2:
        raise WavesimError(f"{layers[0]} is the only layer: nothing can be held out; prune a deeper network")
    order = generator(seed, "held out").permutation(len(layers))
    fold = {layers[place]: number % FOLDS for number, place in enumerate(order)}
    return [[fold[tensor.layer] == number for tensor in tensors] for number in range(min(FOLDS, len(layers)))]


def _learned(tensors: Iterable[Tensor], seed: int) -> Regressor:
    seen = list(tensors)
    return fitted(torch.cat([t.features for t in seen]), torch.cat([t.lifetimes for t in seen]), seed)


def _apart(tensors: Sequence[Tensor], folds: Sequence[Sequence[bool]], seed: int) -> Iterator[tuple[Regressor, Tensor]]:
    """What is held out in each fold, and a regressor that learned from the rest."""
    for held in folds:
        regressor = _learned((tensor for tensor, out in zip(tensors, held, strict=True) if not out), seed)
        yield from ((regressor, tensor) for tensor, out in zip(tensors, held, strict=True) if out)


def _row(what: str, judged: Iterable[tuple[Regressor, Tensor]]) -> Row:
    """Rank correlations with lifetimes, of tensors that their regressors have not seen."""
    weights, sums = 0, np.zeros(3)
    for regressor, tensor in judged:
        if bool((tensor.lifetimes == tensor.lifetimes[0]).all()):
            continue
        theta, gradient = tensor.features.unbind(-1)
        scores = (regressor.scores(tensor.features), theta.abs(), (theta * gradient).abs())
        sums += len(theta) * np.array([rank_correlation(score, tensor.lifetimes) for score in scores])
        weights += len(theta)
    found = sums / max(weights, 1)
    return {"held out": what, "weights": weights, **dict(zip(SCORERS, map(float, found), strict=True))}


def rank_correlation(scores: torch.Tensor, lifetimes: torch.Tensor) -> float:
    """Spearman's; 0 where the scores are all the same, which ranks nothing."""
    if bool((scores == scores[0]).all()):
        return 0.0
    return float(spearmanr(scores.numpy(), lifetimes.numpy())[0])
