"""A dataset of waves: which trajectories go where, who computes them, and what is written down.

Trajectory k is a function of (seed, k) alone, through packings of (seed, packing, k): see stored.py. A file holds a
batch of trajectories, or all through one packing; the batch is computed whole even where fewer are wanted, so that
nothing depends on their number, nor on the number of processes. A file is written whole or not at all, and has the same
bytes whenever it is made; what depends on the clock goes to run.jsonl. So a call that is cut short is continued by
calling again. One call at a time works in a folder (lock.py).

    OUT/data/{train,valid,test}/NAME.hdf5, OUT/stats.yaml, OUT/checksums.txt      see wavesim.dataset
    OUT/settings.json        what made the folder; other settings are refused
    OUT/truth_error.json     relative L2, frame by frame, against the same run one degree higher
    OUT/run.jsonl            one line a file: seconds, milliseconds a frame; a kill may cost a file its line
    OUT/README.md            the dataset card, with its picture
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wavesim import processes
from wavesim.config import GrainsConfig, Settings, WavesConfig
from wavesim.dataset import check, open_shard, write_checksums, write_statistics
from wavesim.devices import described, require
from wavesim.errors import WavesimError
from wavesim.fem import resolved
from wavesim.fem.batch import simulate_all
from wavesim.fem.card import write_card
from wavesim.fem.medium import Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.plan import Job, Plan, plain, plan_packings, plan_preset
from wavesim.fem.sampling import cell_centres
from wavesim.fem.simulation import Simulation
from wavesim.fem.source import Pulse
from wavesim.fem.stored import MESH, draw, draw_burst, draw_preset, medium_of
from wavesim.lock import sole_user
from wavesim.metrics import relative_l2
from wavesim.preset_config import PresetConfig, ResolvedConfig
from wavesim.provenance import (
    discard_parts,
    log_lines,
    read_lines,
    revision,
    versions,
    write_json,
)
from wavesim.settings import differences
from wavesim.shard import Shard, write_shard


def generate_waves(
    config: GrainsConfig,
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
        trajectories of each split, frames, grid, truth_error (in the mean, at the last frame, the worst),
        unresolved_share (mean), milliseconds_per_frame (None where kills have cost all files their timings).
    Raises:
        WavesimError: bad packings, a folder made with other settings, dolfinx missing, an unstable run, a full disk.
    """
    return carry_out(plan_packings(config, Path(packings), Path(out), seed), workers, progress, scheduler)


def generate_dataset(
    config: PresetConfig,
    out: Path,
    n: int,
    seed: int,
    workers: int = 2,
    progress: bool = True,
    scheduler: str | None = None,
) -> dict[str, Any]:
    """Simulate `n` trajectories of a preset and write them as a dataset; as `generate_waves`."""
    return carry_out(plan_preset(config, Path(out), n, seed), workers, progress, scheduler)


def carry_out(plan: Plan, workers: int, progress: bool = True, scheduler: str | None = None) -> dict[str, Any]:
    """Make the files of a plan that are missing, and what lies beside them.

    Raises:
        WavesimError: another call is at work in the folder; a device that is not there; and as `generate_waves`.
    """
    require_room(plan.out, sum(job.bytes for job in plan.missing))
    if (device := plan.jobs[0].config.device) is not None and scheduler is None:
        require(device)
    with sole_user(plan.out):
        return _carry_out(plan, workers, progress, scheduler)


def _carry_out(plan: Plan, workers: int, progress: bool, scheduler: str | None) -> dict[str, Any]:
    out, jobs, missing = plan.out, plan.jobs, plan.missing
    _claim(out, plan.claim)
    bar = tqdm(
        total=sum(job.rows for job in jobs),
        initial=sum(job.rows for job in jobs) - sum(job.rows for job in missing),
        desc="waves",
        unit="trajectory",
        disable=None if progress else True,
    )
    with bar, processes.pool(workers, scheduler) as pool:
        for done in as_completed([pool.submit(make_shard, job) for job in missing]):
            line = done.result()
            log_lines(out / "run.jsonl", [line], file=line["file"])
            bar.update(len(line["milliseconds_per_frame"]))

        def each(function: Any, items: Any) -> list[Any]:
            return [job.result() for job in [pool.submit(function, item) for item in items]]

        discard_parts(out)  # what a killed worker of a cluster has left
        write_statistics(out, each)
        write_checksums(out, each)
        counts = check(out, each)
    return _summary(jobs, out, counts)


def require_room(out: Path, needed: int) -> None:
    """Raises WavesimError where the disk of `out` has not the bytes that are needed."""
    folder = next(parent for parent in (out, *out.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise WavesimError(
            f"{out} takes up to {needed / 1e9:.3g} GB more, and its disk has {free / 1e9:.3g} GB left: use fewer "
            "trajectories, frames or cells, or another --out"
        )


@dataclass(frozen=True)
class Batch:
    """What is to be computed for a file. said: what the file says of each trajectory; cells: (trajectory, 2, y, x) of
    kappa and rho; run(rows, degree): simulations of some trajectories at a degree, or of the whole batch at its own;
    about, mesh: what the file says besides."""

    said: list[dict[str, Any]]
    cells: np.ndarray
    run: Callable[[Sequence[int] | None, int | None], list[Simulation]]
    about: dict[str, Any] = field(default_factory=dict)
    mesh: dict[str, np.ndarray] = field(default_factory=dict)


def make_shard(job: Job) -> dict[str, Any]:
    """Compute one file and write it; returns its line of run.jsonl. Runs in a process of its own."""
    config, begin = job.config, time.perf_counter()
    domain = config.domain
    batch = _resolved(job, config) if isinstance(config, ResolvedConfig) else _drawn(job)
    runs = batch.run(None, None)
    for trajectory, run in zip(batch.said, runs, strict=True):
        trajectory["steps_per_frame"] = run.steps_per_frame
        trajectory["time_step"] = config.frame_interval / run.steps_per_frame
    shard = Shard(
        pressure=np.stack([run.pressure for run in runs]),
        pressure_rate=np.stack([run.pressure_rate for run in runs]),
        bulk_modulus=batch.cells[:, 0],
        density=batch.cells[:, 1],
        time=np.arange(config.frames) * config.frame_interval,
        x=cell_centres(domain.cells[1], domain.lengths[0]),
        y=cell_centres(domain.cells[0], domain.lengths[1]),
        parameters=_parameters(job),
        about={
            "config": config.model_dump(mode="json"),
            "seed": job.seed,
            **({} if job.packing is None else {"packing": plain(job.packing)}),
            **batch.about,
            "trajectories": batch.said,
            "truth_error": _truth_error(job, batch, runs),
            "versions": versions("scipy", "fenics-dolfinx", "h5py", *(["gmsh"] if batch.mesh else [])),
            "revision": revision(),
        },
        sides=domain.sides,
        gzip=config.gzip,
        series={
            "energy": np.stack([run.energy for run in runs]),
            "unresolved_share": np.stack([run.unresolved_share for run in runs]),
        },
        mesh=batch.mesh,
    )
    write_shard(job.path, shard, "wavesim_packings" if job.packing else f"wavesim_{job.path.stem.rsplit('_', 1)[0]}")
    return {
        "file": job.path.stem,
        "split": job.path.parent.name,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(time.perf_counter() - begin, 3),
        **({} if config.device is None else {"device": described(config.device)}),
        "milliseconds_per_frame": [round(run.milliseconds_per_frame, 3) for run in runs],
    }


def _drawn(job: Job) -> Batch:
    """On a plain grid, media and pulses of each trajectory's own; of a preset all that share the batch are computed."""
    config, domain = job.config, job.config.domain
    media: list[Medium]
    pulses: list[Pulse]
    said: list[dict[str, Any]]
    if isinstance(config, PresetConfig):
        numbers = range(job.index * config.shard, (job.index + 1) * config.shard)
        pairs = [draw_preset(config, job.seed, k) for k in numbers]
        media, pulses = [medium for medium, _ in pairs], [pulse for _, pulse in pairs]
        said = [{"index": k, "pulse": asdict(pulse)} for k, (_, pulse) in zip(numbers, pairs, strict=True)]
    else:
        assert isinstance(config, WavesConfig) and job.packing is not None
        said = [draw(config, job.seed, job.index, row) for row in range(job.rows)]
        media = [medium_of(config, plain(job.packing), trajectory) for trajectory in said]
        pulses = [Pulse(**trajectory["pulse"]) for trajectory in said]

    def run(rows: Sequence[int] | None, degree: int | None) -> list[Simulation]:
        if rows is None:
            return simulate_all(config, media, pulses, wanted=job.rows)
        return simulate_all(config, [media[i] for i in rows], [pulses[i] for i in rows], degree=degree)

    cells = np.stack([medium.cells(domain.cells, domain.lengths) for medium in media[: job.rows]])
    return Batch(said[: job.rows], cells, run)


def _resolved(job: Job, config: ResolvedConfig) -> Batch:
    """On one mesh or raster of the grains, bursts of each trajectory's own, which are over when the frames begin."""
    assert job.packing is not None
    mesh = resolved.ground(job.packing, config)
    bursts = [draw_burst(config, job.seed, job.index, row) for row in range(job.rows)]
    medium = resolved.medium(config, job.packing.positions, job.packing.radii)
    cells = medium.cells(config.domain.cells)
    wait = resolved.silent_frames(config, bursts) * config.frame_interval
    signal = bursts[0].source.signal

    def run(rows: Sequence[int] | None, degree: int | None) -> list[Simulation]:
        chosen = bursts if rows is None else [bursts[i] for i in rows]
        return resolved.frames(config, mesh, chosen, degree) if chosen else []

    about: dict[str, Any] = {
        "source_free_from": {
            "frame": 0,
            "after_bursts_began": wait,
            "source_over_its_peak": float(f"{abs(signal(wait) / signal(bursts[0].duration / 2)):.1e}"),
        }
    }
    said, media = [{"burst": asdict(burst)} for burst in bursts], np.broadcast_to(cells, (job.rows, *cells.shape))
    if not isinstance(mesh, Mesh):
        return Batch(said, media, run, about)
    about["mesh"] = {"cells": len(mesh.cells), "in_grains": int((mesh.tags == 1).sum())}
    return Batch(said, media, run, about, {name: getattr(mesh, name) for name in MESH})


def _parameters(job: Job) -> dict[str, float]:
    """The numbers that hold for a whole file."""
    config = job.config
    if isinstance(config, GrainsConfig):
        assert job.packing is not None
        said = {
            "size_ratio": job.packing.size_ratio,
            "grain_bulk_modulus": config.bulk_modulus,
            "grain_density": config.density,
        }
        own = ("radius_scale", "interface_width", "pulse_width", "frequency")
        return said | {key: getattr(config, key) for key in own if key in type(config).model_fields}
    values = {"pulse_width": config.pulse_width}
    for key in type(config).model_fields.keys() - PresetConfig.model_fields.keys():
        value = getattr(config, key)
        if isinstance(value, Settings | None):  # what a lens is made of: the file's settings say it
            continue
        values |= {f"{key}_from": value[0], f"{key}_to": value[1]} if isinstance(value, tuple) else {key: value}
    return {key: float(values[key]) for key in sorted(values)}


def _truth_error(job: Job, batch: Batch, runs: Sequence[Simulation]) -> list[dict[str, Any]]:
    """Relative L2, frame by frame, of the verified trajectories against the same one degree higher."""
    degree, burst = job.config.degree + 1, isinstance(job.config, ResolvedConfig)
    stated = []
    for row, finer in zip(job.verified, batch.run(job.verified, degree), strict=True):
        pressure = relative_l2(runs[row].pressure, finer.pressure)
        # A pulse's rate starts from zero.
        first = relative_l2(runs[row].pressure_rate[:1], finer.pressure_rate[:1]) if burst else np.zeros(1)
        rate = np.concatenate([first, relative_l2(runs[row].pressure_rate[1:], finer.pressure_rate[1:])])
        stated.append(
            {
                "trajectory": row,
                "degree": degree,
                **({"mesh": "the same"} if batch.mesh else {}),
                "pressure": [float(f"{error:.3e}") for error in pressure],
                "pressure_rate": [float(f"{error:.3e}") for error in rate],
            }
        )
    return stated


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Mark the folder with what makes it; refuse one that other settings have made."""
    mark = out / "settings.json"
    if not mark.exists():
        if (out / "data").exists():
            raise WavesimError(f"{out} holds data that no settings.json accounts for; choose another folder")
        write_json(mark, settings)
        return
    try:
        found = json.loads(mark.read_text())
        found["config"].keys()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WavesimError(
            f"{mark} is not what made this folder any more ({type(error).__name__}); choose another folder"
        ) from error
    old, new = ({**{key: s[key] for key in s if key != "config"}, **s["config"]} for s in (found, settings))
    differ = differences(old, json.loads(json.dumps(new)))
    if differ and not any((out / "data").rglob("*.hdf5")):  # nothing came of those
        write_json(mark, settings)
    elif differ:
        if all(line.startswith("mixture.points ") for line in differ):
            raise WavesimError(
                f"{new['mixture']['diagram']} has changed since {out} was begun: give another --out, or in [mixture] "
                f"the `points` that {mark} has kept"
            )
        raise WavesimError(
            f"{out} was begun with other settings ({', '.join(differ)}); give another --out, or the same settings"
        )
    discard_parts(out)


def _summary(jobs: list[Job], out: Path, counts: dict[str, int]) -> dict[str, Any]:
    """Write truth_error.json and the card; return what the command line prints."""
    config, errors, shares = jobs[0].config, [], []
    for job in jobs:
        with open_shard(job.path) as file:
            about = json.loads(file.attrs["wavesim"])
            shares.append(file["scalars/unresolved_share"][:])
        errors += [{"file": job.path.stem, **error} for error in about["truth_error"]]
    truth_error = {
        field: {
            "curve": np.mean(curves, axis=0).tolist(),
            "mean": float(np.mean(curves)),
            "last": float(np.mean(curves, axis=0)[-1]),
            "worst": float(np.max(curves)),
        }
        for field in ("pressure", "pressure_rate")
        if (curves := [error[field] for error in errors])
    }
    write_json(out / "truth_error.json", {**truth_error, "runs": errors})
    timings = [ms for line in read_lines(out / "run.jsonl") for ms in line["milliseconds_per_frame"]]
    summary = {
        "trajectories": counts,
        "frames": config.frames,
        "grid": config.model_dump()["grid"],
        "truth_error": {
            field: {key: value for key, value in error.items() if key != "curve"}
            for field, error in truth_error.items()
        },
        "verified": len(errors),
        "unresolved_share": float(np.mean(np.concatenate(shares))),
        "milliseconds_per_frame": float(np.median(timings)) if timings else None,
    }
    write_card(out, config, jobs[0].seed, summary)
    return summary
