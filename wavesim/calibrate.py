"""Calibrate the band of a forecaster on media that it has never seen; surrogate/band.py says what it is.

One trajectory a medium, its first. Media are drawn independently of each other, and the trajectories of each medium
independently in it: the pairs (medium, first trajectory) of those that calibrate and of the next one are exchangeable,
and so are their scores e_t / s_t, as long as the scale s_t does not depend on them. So some of the media, chosen by
their hashes, fit the scale, and the others alone give the quantiles. Several trajectories of a medium share its
luck: counted as so many media, they would promise too much.

    NAME.band.json     the band, written when it is whole
    NAME.band.jsonl    errors and features of each medium: a call that is cut short goes on, more media are added, and
                       another level takes no rollout again
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wavesim.dataset import SPLITS, Trajectory, WaveDataset
from wavesim.errors import WavesimError
from wavesim.fits import check_fits
from wavesim.given import model_file, require_dataset_folder
from wavesim.media import media_of, waves_of
from wavesim.metrics import relative_l2
from wavesim.provenance import read_lines, write_lines
from wavesim.surrogate.band import LEAST, Band, band_file, features
from wavesim.surrogate.checkpoint import fingerprint_of, load, read_header
from wavesim.surrogate.coarse import CoarseStep, substeps_in_all
from wavesim.surrogate.conformal import quantiles, rank
from wavesim.surrogate.data import data_hash
from wavesim.surrogate.loops import in_loops
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.rollout import Stepper, UnboundedError, rollout
from wavesim.unit_check import check_units
from wavesim.well_dataset import open_split

# Media that fit the scale, a quarter of all at most: fitted by 16, bounds are less than 1 % wider than fitted by 32.
FITTED = 50
# Of the regression, over the variance of its features: 0.03 to 0.3 make bounds that differ by less than 1 %.
RIDGE = 0.1
Line = Mapping[str, Any]


def calibrate(
    model: str | Path, data: str | Path, level: float = 0.9, out: str | Path | None = None, progress: bool = True
) -> Band:
    """Calibrate a model's file on the media of a dataset's train and valid splits; its test split is left for a test.

    Args:
        level: the probability with which the error in an unseen medium is within the band, at each lead time.
        out: the file to write; default: NAME.band.json beside the model.
    Raises:
        WavesimError: a model that was trained on these data or made for others, too few media for the level, or a
            forecaster that grows without bound in too many of them.
    """
    if not 0 < level < 1:
        raise WavesimError(f"level {level:g} is no probability of a band: give one between 0 and 1, such as 0.9")
    model = model_file(model)
    forecaster, about = load(model), read_header(model)["about"]
    splits = _splits(Path(data))
    for split in splits:
        check_fits(model, forecaster, split)
        check_units(split)
    media = {key: (split, numbers[0]) for split in splits for key, numbers in media_of(split).items()}
    said = about.get("data", {})
    _require_unseen(model, said, Path(data), splits, set(media))
    calibrating = len(media) - fitting(len(media))
    try:
        rank(calibrating, level)  # before the rollouts
    except WavesimError as error:
        raise WavesimError(f"{data} has {len(media)} media that calibrate or fit the scale: {error}") from error
    coarse = coarse_of(forecaster, splits)
    target = Path(out) if out else band_file(model)
    lines = measured(forecaster, coarse, media, target.with_suffix(".jsonl"), progress)
    exponents, found = fitted(lines, level)
    band = Band(
        level=level,
        quantiles=tuple(found.tolist()),
        exponents=tuple((float(a), float(b)) for a, b in exponents),
        media=calibrating,
        fitted=len(media) - calibrating,
        keys=tuple(sorted(media)),
        forecaster=fingerprint_of(forecaster),
        trained_on=said.get("hash"),
        courant=forecaster.courant,
        substeps=coarse.substeps,
        sides=forecaster.config.sides,
        grid=splits[0].grid,
        data=str(data),
        waves=waves_of(splits[0]),
    )
    band.save(target)
    return band


def _splits(data: Path) -> list[WaveDataset]:
    require_dataset_folder(data)
    found = [open_split(data, name) for name in SPLITS[:-1] if (data / "data" / name).is_dir()]
    if not found:
        raise WavesimError(
            f"{data} holds neither a train nor a valid split, whose media calibrate; the test split is left for a test"
        )
    if len({(split.frames, split.grid) for split in found}) > 1:
        raise WavesimError(f"{data}: its splits have other frames or grids than each other; make them alike")
    return found


def _require_unseen(
    model: str | Path, said: Mapping[str, Any], data: Path, splits: Sequence[WaveDataset], media: set[str]
) -> None:
    """Raises WavesimError where the model says that it was trained on these splits, or in some of these media."""
    unseen = "its errors there are not those on unseen media; generate other waves, by another --seed, and calibrate on"
    if len(splits) > 1 and said.get("hash") == data_hash(data, splits):
        raise WavesimError(f"{model} was trained and chosen on {data}: {unseen} them")
    if shared := media & set(said.get("media", "").split()):
        raise WavesimError(f"{model} was trained or chosen in {len(shared)} of the {len(media)} media of {data}: "
                           f"{unseen} them")  # fmt: skip


def coarse_of(forecaster: Forecaster, splits: Sequence[WaveDataset]) -> CoarseStep:
    """The coarse step of a forecaster, with more sub-steps where it is stable in all media with no fewer."""
    courant, sides = forecaster.courant, forecaster.config.sides
    needed = substeps_in_all(courant, sides, (split.medium(i) for split in splits for i in range(len(split))))
    return CoarseStep(courant, max(forecaster.config.substeps, needed), sides)


def measured(
    forecaster: Forecaster,
    coarse: CoarseStep,
    media: Mapping[str, tuple[WaveDataset, int]],
    log: Path,
    progress: bool = True,
) -> list[Line]:
    """A line for each medium, read from `log` where it is there already, and kept there.

    Args:
        media: by key the split and the number of the trajectory that is forecast.
    Returns:
        medium, trajectory, truth (its hash), forecaster, errors (time,) and features (time, 2); errors are None from
        where the forecast grew without bound.
    """
    about = {"forecaster": fingerprint_of(forecaster), "substeps": coarse.substeps}
    kept = {
        line["medium"]: line for line in read_lines(log) if line["medium"] in media and about.items() <= line.items()
    }
    kept = {key: line for key, line in kept.items() if _which(*_read(*media[key])).items() <= line.items()}
    write_lines(log, kept.values())  # what a kill cut short is gone
    missing, stepper = [key for key in media if key not in kept], in_loops(forecaster)
    with log.open("a") as file:
        for key in tqdm(missing, desc="calibrate", unit="medium", disable=None if progress else True):
            read = _read(*media[key])
            kept[key] = {"medium": key, **about, **_which(*read), **_one(stepper, coarse, read[1])}
            file.write(json.dumps(kept[key]) + "\n")
            file.flush()
    return [kept[key] for key in sorted(media)]


def _read(split: WaveDataset, index: int) -> tuple[str, Trajectory]:
    return f"{split.split}/{split.name(index)}", split.trajectory(index)


def _which(name: str, truth: Trajectory) -> dict[str, Any]:
    """What a line is of, beside the medium and the forecaster: through the same media others may send other waves."""
    digest = hashlib.sha256(truth.state.tobytes()).hexdigest()[:12]
    return {"trajectory": name, "frames": len(truth.state), "truth": digest}


def _one(stepper: Forecaster | Stepper, coarse: CoarseStep, truth: Trajectory) -> dict[str, Any]:
    """Errors and features of the forecast of one trajectory."""
    frames = len(truth.state) - 1
    try:
        forecast = rollout(stepper, truth.state[0], truth.medium, frames)
    except UnboundedError as grown:
        start, whole = truth.state[0], grown.frame - 1
        forecast = rollout(stepper, start, truth.medium, whole) if whole else truth.state[1:1]
    states = np.concatenate([truth.state[:1], forecast])
    errors = relative_l2(forecast[:, 0], truth.state[1 : len(states), 0])
    logs = features(coarse, states, truth.medium)
    lost = frames - len(forecast)
    return {
        "errors": [*(float(f"{error:.6g}") for error in errors), *[None] * lost],
        "features": [*([float(f"{value:.6g}") for value in pair] for pair in logs), *[[0.0, 0.0]] * lost],
    }


def fitting(media: int) -> int:
    """How many of so many media fit the scale: the first by their keys, which are hashes."""
    return min(FITTED, -(-media // 4))


def fitted(lines: Sequence[Line], level: float) -> tuple[np.ndarray, np.ndarray]:
    """Exponents (time, 2) by the media that fit the scale, and quantiles (time,) by the others.

    Args:
        lines: of `measured`, in the order of the media's keys, which have nothing to do with the scores.
    Raises:
        WavesimError: too few for the level, or too many of them without an error that is finite.
    """
    errors = np.array([line["errors"] for line in lines], float)
    logs = np.array([line["features"] for line in lines], float)
    fit = np.arange(len(lines)) < fitting(len(lines))
    exponents = np.array([_exponents(logs[fit, t], errors[fit, t]) for t in range(errors.shape[1])])
    scores = errors / np.exp(np.sum(logs * exponents, axis=-1))
    found = quantiles(np.where(np.isfinite(scores), scores, np.inf)[~fit], level)
    if not np.isfinite(found).all():
        lost = int((~np.isfinite(errors[~fit])).any(axis=1).sum())
        raise WavesimError(
            f"the forecaster grew without bound in {lost} of {int((~fit).sum())} media: nothing bounds its error at a "
            f"level of {level:g}; train it on longer unrolls, or set conserve_energy"
        )
    return exponents, found


def _exponents(logs: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Ridge regression of log errors (medium,) on log features (medium, 2); 0 of a feature that is always the same."""
    finite = np.isfinite(errors)
    x, y = logs[finite], np.log(np.maximum(errors[finite], LEAST))
    if len(x) < 2:
        return np.zeros(2)
    spread = np.std(x, axis=0)
    varies = spread > 1e-6
    z = np.where(varies, (x - x.mean(axis=0)) / np.where(varies, spread, 1.0), 0.0)
    weights = np.linalg.solve(z.T @ z + RIDGE * len(z) * np.eye(2), z.T @ (y - y.mean()))
    return np.where(varies, weights / np.where(varies, spread, 1.0), 0.0)
