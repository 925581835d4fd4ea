"""Is a dataset what it says it is? A sample of its trajectories is run once more, from what its files say alone.

fields    the stored fields against the same run again                     within rounding (SAME)
energy    between walls, of every frame against the first; and as stored   within LARGEST_GROWTH; within SAME
error     the stored fields against a run one degree higher                as stated, within a tenth of it
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.dataset import SPLITS, WaveDataset, open_shard
from wavesim.errors import WavesimError
from wavesim.metrics import relative_l2

SAME = 1e-3  # single precision, another machine's order of sums, another version of dolfinx: 1e-5 was seen


def verify(root: Path, sample: int) -> list[str]:
    """Run `sample` trajectories again, those first whose error is stated, spread over the dataset.

    Returns:
        a line for each, or one that says why none was run.
    Raises:
        WavesimError: a trajectory that is not what its file says.
    """
    if not sample:
        return []
    if find_spec("dolfinx") is None:
        return ["no trajectory was run again: dolfinx is not installed"]
    chosen = _candidates(root)
    if not chosen:
        return ["no trajectory was run again: the files do not say how they were made"]
    picked = np.unique(np.linspace(0, len(chosen) - 1, min(sample, len(chosen))).astype(int))
    return [_compare(*chosen[i]) for i in picked]


def _candidates(root: Path) -> list[tuple[Path, int, dict[str, Any] | None]]:
    """File, row and stated error: of all trajectories that state one, or where none does, of the first in each file."""
    stated: list[tuple[Path, int, dict[str, Any] | None]] = []
    others: list[tuple[Path, int, dict[str, Any] | None]] = []
    for split in SPLITS:
        if not (root / "data" / split).is_dir():
            continue
        for path in WaveDataset(root, split).paths:
            with open_shard(path) as file:
                about = json.loads(file.attrs["wavesim"])
            if "trajectories" not in about:
                continue
            stated += [(path, entry["trajectory"], entry) for entry in about.get("truth_error", [])]
            others.append((path, 0, None))
    return stated or others


def _compare(path: Path, row: int, stated: dict[str, Any] | None) -> str:
    from wavesim.fem.budget import LARGEST_GROWTH
    from wavesim.fem.stored import resimulate

    with open_shard(path) as file:
        pressure = file["t0_fields/pressure"][row].swapaxes(-1, -2)
        energy = file["scalars/energy"][row] if "energy" in file["scalars"] else None
    config, run = resimulate(path, row)
    name = f"{path.stem}:{row}"
    apart = float(np.max(relative_l2(pressure, run.pressure)))
    if not apart <= SAME:
        raise WavesimError(f"{path}: trajectory {row} is {apart:.2%} off the same run again; generate the file anew")
    line = f"{name} run again: pressure within {apart:.1e}"
    if energy is not None:
        drift = float(np.max(np.abs(energy / run.energy - 1)))
        if not drift <= SAME or not energy.max() <= LARGEST_GROWTH * energy[0]:
            raise WavesimError(f"{path}: the energy of trajectory {row} is {drift:.2%} off that of the same run again")
        closed = "absorbing" not in config.domain.sides
        line += f", energy within {drift:.1e}" + (f", constant to {np.ptp(energy) / energy[0]:.1e}" if closed else "")
    if stated is not None:
        finer = resimulate(path, row, degree=stated["degree"])[1]
        error, said = np.mean(relative_l2(pressure, finer.pressure)), np.mean(stated["pressure"])
        if not abs(error - said) <= 0.1 * said + 1e-5:
            raise WavesimError(
                f"{path}: trajectory {row} states an error of {said:.2%} against degree {stated['degree']}, and has "
                f"{error:.2%}"
            )
        line += f"; error {error:.2%} against degree {stated['degree']}, stated {said:.2%}"
    return line
