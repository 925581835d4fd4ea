"""Packings by the dozen: processes of their own, one file, and a run that can be cut short, called again, and extended.

    OUT/packings.h5       the packings, see data/README.md
    OUT/packings.jsonl    one line a packing: attempts, seconds
    OUT/failed.jsonl      one line an attempt that gave no packing in equilibrium, with its reason

Either the packings of a PackingsConfig, quenched, whose size ratios take turns; or any number of one mixture, disks or
spheres, compressed stepwise from a dilute state. Packing k is a function of (seed, k) alone: attempt a starts from
generator(seed, "packings", k, a), and the first that comes to mechanical equilibrium counts. Of 400
packings of 64 disks, half of them 1 : 1.4 and half 1 : 3, two needed a second attempt.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from wavesim import processes
from wavesim.config import PackingsConfig
from wavesim.errors import WavesimError
from wavesim.granular import parallel, storage
from wavesim.granular._lammps import EngineError, require_engine
from wavesim.granular.jamming import NotJammedError, Protocol, jam
from wavesim.granular.mixture import Mixture
from wavesim.granular.packing import Packing
from wavesim.granular.progress import counted
from wavesim.granular.unloading import usual
from wavesim.lock import sole_user
from wavesim.provenance import generator, log_lines, read_lines, revision, versions

ATTEMPTS = 5
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class _Job:
    """One packing to make."""

    index: int
    mixture: Mixture
    seed: int
    protocol: Protocol
    provenance: Mapping[str, Any]
    ranks: int = 1

    @property
    def name(self) -> str:
        return f"{self.index:06d}"


@dataclass(frozen=True)
class _Outcome:
    """A packing, or None where no attempt gave one, and why the failed attempts failed."""

    packing: Packing | None
    failures: list[dict[str, Any]]
    seconds: float


def generate_packings(
    config: PackingsConfig, out: Path, seed: int, workers: int = 2, progress: bool = True
) -> list[dict[str, Any]]:
    """Jam the packings that `config` asks for into OUT/packings.h5; go on where an earlier call stopped.

    The engine runs in processes that are started anew, so a script calls this under `if __name__ == "__main__":`.

    Args:
        out: a folder, made where it is missing.
        seed: of everything random.
        workers: processes.
    Returns:
        a row for each packing: name, size_ratio, phi_j, phi, coordination, rattler_fraction, bulk_modulus, pressure
        (in units of k_n, the large diameter being 1), seconds.
    Raises:
        WavesimError: a mixture that cannot be, a file that is damaged or was begun with other settings, LAMMPS missing,
            a full disk, or a packing that no attempt brought to equilibrium (all others are kept).
    """
    protocol = Protocol()
    mixtures = [Mixture(config.particles, ratio, config.small_fraction) for ratio in config.size_ratios]
    settings = {"config": config.model_dump(mode="json"), "seed": seed, "protocol": asdict(protocol)}
    return _carry_out(mixtures * config.per_ratio, protocol, settings, Path(out), seed, workers, progress)


def generate_mixture(
    mixture: Mixture,
    count: int,
    out: Path,
    seed: int,
    workers: int = 2,
    progress: bool = True,
    protocol: Protocol | None = None,
    ranks: int = 1,
) -> list[dict[str, Any]]:
    """Jam `count` packings of one mixture into OUT/packings.h5; a later call with a larger count adds to them.

    Args and what it returns and raises: as `generate_packings`. protocol: `unloading.usual` where none is given.
    ranks: processes that share each packing, see parallel.py; other packings come of other numbers of them.
    """
    if count < 1:
        raise WavesimError(f"{count} packings: ask for at least 1")
    protocol = protocol or usual(mixture)
    settings = {"mixture": asdict(mixture), "seed": seed, "protocol": json.loads(protocol.describe())}
    if ranks > 1:
        settings["ranks"] = ranks
    return _carry_out([mixture] * count, protocol, settings, Path(out), seed, workers, progress, ranks)


def _carry_out(
    mixtures: Sequence[Mixture],
    protocol: Protocol,
    settings: Mapping[str, Any],
    out: Path,
    seed: int,
    workers: int,
    progress: bool,
    ranks: int = 1,
) -> list[dict[str, Any]]:
    """Jam one packing of each of `mixtures`, or what a file begun with the same `settings` lacks of them."""
    if out.exists() and not out.is_dir():
        raise WavesimError(f"{out} is a file; give a folder to write packings.h5 to")
    if workers < 1:
        raise WavesimError(f"workers {workers}: give at least 1")
    if ranks < 1:
        raise WavesimError(f"ranks {ranks}: give at least 1, at most one a processor core")
    if ranks > 1:  # they wait busily, and two that share a core wait for each other
        if ranks > (cores := _cores()):
            raise WavesimError(
                f"ranks {ranks} on {cores} processor core{'s' * (cores > 1)}: the processes that share a packing wait "
                f"busily, and two on one core for each other, many times as long as one alone; give at most {cores}"
            )
        workers = max(1, min(workers, cores // ranks))
    for mixture in dict.fromkeys(mixtures):
        mixture.require_memory(min(workers, len(mixtures)))
    path = out / "packings.h5"
    with sole_user(out, ".packings.lock"):  # a run's folder may be locked as a whole
        done = set(storage.begin(path, settings))

        provenance = {"settings": settings, "versions": versions("scipy", "lammps"), "revision": revision()}
        jobs = [
            _Job(k, mixture, seed, protocol, {**provenance, "index": k}, ranks) for k, mixture in enumerate(mixtures)
        ]
        missing = [job for job in jobs if job.name not in done]
        lost, reason = [], ""
        if missing:
            require_engine()
            with counted("packings", len(jobs), len(jobs) - len(missing), progress) as finished:
                for job, outcome in _outcomes(missing, workers):
                    log_lines(out / "failed.jsonl", outcome.failures, name=job.name)
                    if outcome.packing is None:
                        lost.append(job.name)
                        reason = outcome.failures[-1]["reason"]
                        finished(f"{job.name} failed: {reason}")
                    else:
                        line = {"attempts": len(outcome.failures) + 1, "seconds": round(outcome.seconds, 3)}
                        log_lines(out / "packings.jsonl", [line], name=job.name)
                        storage.append(path, job.name, outcome.packing)
                        finished(f"{job.name}: phi_J {outcome.packing.phi_j:.4f}")
    if lost:
        raise WavesimError(
            f"{len(lost)} of {len(jobs)} packings did not come to mechanical equilibrium in {ATTEMPTS} attempts each "
            f"({', '.join(lost[:SHOWN])}{', ...' if len(lost) > SHOWN else ''}; reasons in {out / 'failed.jsonl'}, the "
            f"last: {reason}); use more particles, another size ratio or seed"
        )
    seconds = {line["name"]: line["seconds"] for line in read_lines(out / "packings.jsonl")}
    return [_row(packing, seconds.get(packing.name)) for packing in storage.read_packings(path)]


def _cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1


def _row(packing: Packing, seconds: float | None) -> dict[str, Any]:
    return {
        "name": packing.name,
        "size_ratio": packing.size_ratio,
        "phi_j": packing.phi_j,
        "phi": packing.phi,
        "coordination": packing.coordination,
        "rattler_fraction": packing.rattler_fraction,
        "bulk_modulus": packing.bulk_modulus,
        "pressure": packing.pressure,
        "seconds": seconds,
    }


def _make(job: _Job) -> _Outcome:
    """Attempt a packing until one is in equilibrium. Runs in a process of its own."""
    begin = time.perf_counter()
    failures = []
    for attempt in range(ATTEMPTS):
        try:
            rng = generator(job.seed, "packings", job.index, attempt)
            attempted = partial(jam, job.mixture, rng, job.protocol)
            packing = attempted() if job.ranks == 1 else parallel.run(attempted, job.ranks)
        except (NotJammedError, EngineError) as error:
            failures.append({"attempt": attempt, "size_ratio": job.mixture.size_ratio, "reason": str(error)})
            continue
        packing = replace(packing, seed=job.seed, provenance={**job.provenance, "attempt": attempt})
        return _Outcome(packing, failures, time.perf_counter() - begin)
    return _Outcome(None, failures, time.perf_counter() - begin)


def _outcomes(jobs: list[_Job], workers: int) -> Iterator[tuple[_Job, _Outcome]]:
    """The outcomes in the order of the jobs, so that the file has the same bytes however many workers there are."""
    with processes.pool(min(workers, len(jobs))) as pool:
        futures: list[Future[_Outcome]] = [pool.submit(_make, job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            yield job, future.result()
