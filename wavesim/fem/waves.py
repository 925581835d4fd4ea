"""A dataset of waves through packings: which packing goes where, who computes it, and what is written down.

Trajectory k through packing j is a function of (seed, j, k) alone: its cut of the packing (a shift, one of the eight
symmetries of the square) and the place of its pulse are drawn from generator(seed, "waves", j, k). A file holds all
trajectories through one packing, is written whole or not at all, and has the same bytes whenever it is made; what
depends on the clock goes to run.jsonl. So a call that is cut short is continued by calling again.

    OUT/data/{train,valid,test}/packing_000003.hdf5, OUT/stats.yaml      see wavesim.dataset
    OUT/settings.json        what made the folder; other settings are refused
    OUT/truth_error.json     relative L2, frame by frame, against the same run one degree higher
    OUT/run.jsonl            one line a file: seconds, milliseconds a frame; a kill may cost a file its line
    OUT/README.md            the dataset card
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wavesim import processes
from wavesim.config import WavesConfig, parse
from wavesim.dataset import SPLITS, Shard, check, open_shard, write_shard, write_statistics
from wavesim.errors import WavesimError
from wavesim.fem import medium as media
from wavesim.fem.card import write_card
from wavesim.fem.medium import Medium
from wavesim.fem.packing_mesh import SquarePacking, read
from wavesim.fem.sampling import cell_centres
from wavesim.fem.simulation import Simulation, simulate
from wavesim.fem.source import Pulse, random_pulse
from wavesim.metrics import relative_l2
from wavesim.provenance import (
    discard_parts,
    generator,
    log_lines,
    read_lines,
    revision,
    settings_hash,
    versions,
    write_json,
)


@dataclass(frozen=True)
class Job:
    """One file to make: all trajectories through one packing; the rows in `verified` are run one degree higher too."""

    path: Path
    config: WavesConfig
    packing: SquarePacking
    index: int
    seed: int
    verified: tuple[int, ...]


def generate_waves(
    config: WavesConfig,
    packings: Path,
    out: Path,
    seed: int,
    workers: int = 2,
    progress: bool = True,
    scheduler: str | None = None,
) -> dict[str, Any]:
    """Simulate waves through every packing of a file and write them as a dataset; go on where an earlier call stopped.

    Args:
        packings: packings.h5. out: the dataset's folder. workers: processes, of one thread each.
        scheduler: address of a scheduler of dask's, whose workers do it instead; they must see the same folder.
    Returns:
        trajectories of each split, frames, grid, truth_error (mean and last over the frames), milliseconds_per_frame
        (None where kills have cost all files their timings).
    Raises:
        WavesimError: bad packings, a folder made with other settings, dolfinx missing, an unstable run, a full disk.
    """
    packings, out = Path(packings), Path(out).absolute()
    square = read(packings)
    splits = split([packing.size_ratio for packing in square], config)
    _claim(
        out,
        {
            "config": config.model_dump(mode="json"),
            "seed": seed,
            "packings": settings_hash([_plain(one) for one in square]),
        },
    )
    jobs = list(_jobs(config, square, splits, out, seed))
    missing = [job for job in jobs if not job.path.exists()]
    bar = tqdm(
        total=len(jobs) * config.pulses,
        initial=(len(jobs) - len(missing)) * config.pulses,
        desc="waves",
        unit="trajectory",
        disable=None if progress else True,
    )
    with bar, processes.pool(workers, scheduler) as pool:
        for done in as_completed([pool.submit(make_shard, job) for job in missing]):
            line = done.result()
            log_lines(out / "run.jsonl", [line], file=line["file"])
            bar.update(config.pulses)
    discard_parts(out)  # what a killed worker of a cluster has left
    write_statistics(out)
    return _summary(config, jobs, out)


def split(size_ratios: Sequence[float], config: WavesConfig) -> list[str]:
    """The split of each packing: the config's shares of every size ratio, at least one packing of it in each split.

    Raises:
        WavesimError: a size ratio with fewer packings than splits.
    """
    splits = [""] * len(size_ratios)
    for ratio in sorted(set(size_ratios)):
        own = [i for i, other in enumerate(size_ratios) if other == ratio]
        if len(own) < len(SPLITS):
            raise WavesimError(
                f"size ratio {ratio:.3g} has {len(own)} packings, and each of {', '.join(SPLITS)} needs its own; "
                f"generate at least {len(SPLITS)} packings a ratio (per_ratio)"
            )
        test = max(1, round(config.test_share * len(own)))
        valid = max(1, round(config.valid_share * len(own)))
        for place, i in enumerate(reversed(own)):
            splits[i] = "test" if place < test else "valid" if place < test + valid else "train"
        if all(splits[i] != "train" for i in own):
            splits[own[0]] = "train"
    return splits


def make_shard(job: Job) -> dict[str, Any]:
    """Compute one file and write it; returns its line of run.jsonl. Runs in a process of its own."""
    config, begin = job.config, time.perf_counter()
    packing = _plain(job.packing)
    trajectories = [draw(config, job.seed, job.index, row) for row in range(config.pulses)]
    mediums = [medium_of(config, packing, trajectory) for trajectory in trajectories]
    runs = []
    for trajectory, medium in zip(trajectories, mediums, strict=True):
        runs.append(simulate(config, medium, Pulse(**trajectory["pulse"])))
        trajectory["steps_per_frame"] = runs[-1].steps_per_frame
    truth_error = [
        {"trajectory": row, **_truth_error(config, mediums[row], Pulse(**trajectories[row]["pulse"]), runs[row])}
        for row in job.verified
    ]
    cells = np.stack([medium.cells((config.grid, config.grid)) for medium in mediums])
    shard = Shard(
        pressure=np.stack([run.pressure for run in runs]),
        pressure_rate=np.stack([run.pressure_rate for run in runs]),
        bulk_modulus=cells[:, 0],
        density=cells[:, 1],
        time=np.arange(config.frames) * config.frame_interval,
        x=cell_centres(config.grid),
        y=cell_centres(config.grid),
        parameters={
            "size_ratio": job.packing.size_ratio,
            "grain_bulk_modulus": config.bulk_modulus,
            "grain_density": config.density,
            "radius_scale": config.radius_scale,
            "interface_width": config.interface_width,
            "pulse_width": config.pulse_width,
        },
        about={
            "config": config.model_dump(mode="json"),
            "seed": job.seed,
            "packing": packing,
            "trajectories": trajectories,
            "truth_error": truth_error,
            "versions": versions("scipy", "fenics-dolfinx", "h5py"),
            "revision": revision(),
        },
    )
    write_shard(job.path, shard, "wavesim_packings")
    return {
        "file": job.path.stem,
        "split": job.path.parent.name,
        "seconds": round(time.perf_counter() - begin, 3),
        "milliseconds_per_frame": [round(run.milliseconds_per_frame, 3) for run in runs],
    }


def draw(config: WavesConfig, seed: int, packing: int, trajectory: int) -> dict[str, Any]:
    """The cut of the packing and the pulse of one trajectory: a function of (seed, packing, trajectory) alone."""
    random = generator(seed, "waves", packing, trajectory)
    shift, symmetry = random.uniform(size=2), int(random.integers(8))
    return {
        "shift": shift.tolist(),
        "symmetry": symmetry,
        "pulse": asdict(random_pulse(config.pulse_width, random)),
    }


def medium_of(config: WavesConfig, packing: Mapping[str, Any], trajectory: Mapping[str, Any]) -> Medium:
    """The medium of a trajectory, from what its file says about its packing and about itself."""
    positions = media.cut(np.array(packing["positions"]), np.array(trajectory["shift"]), trajectory["symmetry"])
    radii = np.array(packing["radii"])
    return media.packing(
        positions, radii, config.bulk_modulus, config.density, config.interface_width, config.radius_scale
    )


def recall(shard: str | Path, row: int) -> tuple[WavesConfig, Medium, Pulse]:
    """The settings, the medium and the pulse of a stored trajectory, from its file alone.

    Raises:
        WavesimError: no such file or row, or a file that was not made by `generate_waves`.
    """
    with open_shard(shard) as file:
        about = json.loads(file.attrs["wavesim"])
    missing = [key for key in ("config", "packing", "trajectories") if key not in about]
    if missing:
        raise WavesimError(f"{shard} does not say how it was made (no {', '.join(missing)}): it cannot be run again")
    if not 0 <= row < len(about["trajectories"]):
        raise WavesimError(f"{shard} has no trajectory {row}: it holds 0 to {len(about['trajectories']) - 1}")
    config, trajectory = parse(about["config"], WavesConfig, str(shard)), about["trajectories"][row]
    return config, medium_of(config, about["packing"], trajectory), Pulse(**trajectory["pulse"])


def rerun(
    shard: str | Path, row: int, elements: int | None = None, degree: int | None = None
) -> tuple[np.ndarray, float, int]:
    """The same trajectory at another resolution, sampled on the same grid.

    Args:
        shard: a file of the dataset. row: of the trajectory in it.
        elements: a side; degree: of the polynomials; both default to those that made the file.
    Returns:
        state (time, channel, y, x) float64 of (p, dt p_t), the milliseconds a frame took, the number of unknowns.
    Raises:
        WavesimError: no such trajectory, dolfinx missing, or an unstable run.
    """
    config, medium, pulse = recall(shard, row)
    run = simulate(config, medium, pulse, elements, degree)
    state = np.stack([run.pressure, run.pressure_rate * config.frame_interval], axis=1)
    return state, run.milliseconds_per_frame, run.unknowns


def _plain(packing: SquarePacking) -> dict[str, Any]:
    """A packing as JSON can hold it."""
    return {**asdict(packing), "positions": packing.positions.tolist(), "radii": packing.radii.tolist()}


def _truth_error(config: WavesConfig, medium: Medium, pulse: Pulse, run: Simulation) -> dict[str, Any]:
    finer = simulate(config, medium, pulse, degree=config.degree + 1)
    pressure = relative_l2(run.pressure, finer.pressure)
    rate = relative_l2(run.pressure_rate[1:], finer.pressure_rate[1:])  # it starts from zero
    return {
        "degree": config.degree + 1,
        "pressure": [float(f"{error:.3e}") for error in pressure],
        "pressure_rate": [0.0, *(float(f"{error:.3e}") for error in rate)],
    }


def _jobs(config: WavesConfig, packings: list[SquarePacking], splits: list[str], out: Path, seed: int) -> Iterator[Job]:
    """One job a packing; the `config.verified` trajectories alternate between the size ratios of the test split."""
    test = [i for i, name in enumerate(splits) if name == "test"]
    ratios = [packings[i].size_ratio for i in test]
    rank = {i: ratios[:place].count(packings[i].size_ratio) for place, i in enumerate(test)}
    test.sort(key=lambda i: (rank[i], i))
    turns = [(i, row) for row in range(config.pulses) for i in test][: config.verified]
    for i, (packing, name) in enumerate(zip(packings, splits, strict=True)):
        path = out / "data" / name / f"packing_{packing.name}.hdf5"
        yield Job(path, config, packing, i, seed, tuple(row for owner, row in turns if owner == i))


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Mark the folder with what makes it; refuse one that other settings have made."""
    mark = out / "settings.json"
    if not mark.exists():
        if (out / "data").exists():
            raise WavesimError(f"{out} holds data that no settings.json accounts for; choose another folder")
        write_json(mark, settings)
        return
    found = json.loads(mark.read_text())
    old, new = ({"seed": s["seed"], "packings": s["packings"], **s["config"]} for s in (found, settings))
    changed = (key for key in sorted(old | new) if old.get(key) != new.get(key))
    differ = [f"{key} {old.get(key)!r} (now {new.get(key)!r})" for key in changed]
    if differ:
        raise WavesimError(f"{out} was made with {'; '.join(differ)}: choose another folder, or the same settings")
    discard_parts(out)


def _summary(config: WavesConfig, jobs: list[Job], out: Path) -> dict[str, Any]:
    """Write truth_error.json and the card; return what the command line prints."""
    errors = []
    for job in jobs:
        with open_shard(job.path) as file:
            about = json.loads(file.attrs["wavesim"])
        errors += [{"file": job.path.stem, **error} for error in about["truth_error"]]
    truth_error = {
        field: {
            "curve": np.mean(curves, axis=0).tolist(),
            "mean": float(np.mean(curves)),
            "last": float(np.mean(curves, axis=0)[-1]),
        }
        for field in ("pressure", "pressure_rate")
        if (curves := [error[field] for error in errors])
    }
    write_json(out / "truth_error.json", {**truth_error, "runs": errors})
    timings = [ms for line in read_lines(out / "run.jsonl") for ms in line["milliseconds_per_frame"]]
    summary = {
        "trajectories": check(out),
        "frames": config.frames,
        "grid": config.grid,
        "truth_error": {field: {key: error[key] for key in ("mean", "last")} for field, error in truth_error.items()},
        "milliseconds_per_frame": float(np.median(timings)) if timings else None,
    }
    write_card(out / "README.md", config, jobs[0].seed, summary)
    return summary
