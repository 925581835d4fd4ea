"""Packings by the dozen: processes of their own, one file, and a run that can be cut short and called again.

    OUT/packings.h5       the packings, see data/README.md
    OUT/packings.jsonl    one line a packing: attempts, seconds
    OUT/failed.jsonl      one line an attempt that gave no packing in equilibrium, with its reason

The size ratios take turns. Packing k is a function of (seed, k) alone: attempt a starts from
generator(seed, "packings", k, a), and the first that comes to mechanical equilibrium counts. Of 400
packings of 64 disks, half of them 1 : 1.4 and half 1 : 3, two needed a second attempt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wavesim import processes
from wavesim.config import PackingsConfig
from wavesim.errors import WavesimError
from wavesim.granular import storage
from wavesim.granular._lammps import require_engine
from wavesim.granular.jamming import Mixture, NotJammedError, Protocol, jam
from wavesim.granular.packing import Packing
from wavesim.provenance import generator, log_lines, read_lines, revision, versions

ATTEMPTS = 5


@dataclass(frozen=True)
class _Job:
    """One packing to make."""

    index: int
    mixture: Mixture
    seed: int
    protocol: Protocol
    provenance: Mapping[str, Any]

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
    out, path = Path(out), Path(out) / "packings.h5"
    if out.exists() and not out.is_dir():
        raise WavesimError(f"{out} is a file; give a folder to write packings.h5 to")
    if workers < 1:
        raise WavesimError(f"workers {workers}: give at least 1")
    protocol = Protocol()
    mixtures = [Mixture(config.particles, ratio, config.small_fraction) for ratio in config.size_ratios]
    settings = {"config": config.model_dump(mode="json"), "seed": seed, "protocol": asdict(protocol)}
    done = set(storage.begin(path, settings))

    provenance = {"settings": settings, "versions": versions("scipy", "lammps"), "revision": revision()}
    count = config.per_ratio * len(mixtures)
    jobs = [_Job(k, mixtures[k % len(mixtures)], seed, protocol, {**provenance, "index": k}) for k in range(count)]
    missing = [job for job in jobs if job.name not in done]
    lost = []
    if missing:
        require_engine()
        bar = tqdm(total=count, initial=len(done), desc="packings", unit="packing", disable=None if progress else True)
        with bar:
            for job, outcome in _outcomes(missing, workers):
                log_lines(out / "failed.jsonl", outcome.failures, name=job.name)
                if outcome.packing is None:
                    lost.append(job.name)
                else:
                    line = {"attempts": len(outcome.failures) + 1, "seconds": round(outcome.seconds, 3)}
                    log_lines(out / "packings.jsonl", [line], name=job.name)
                    storage.append(path, job.name, outcome.packing)
                bar.update()
    if lost:
        raise WavesimError(
            f"{len(lost)} of {count} packings did not come to mechanical equilibrium in {ATTEMPTS} attempts each "
            f"({', '.join(lost)}; reasons in {out / 'failed.jsonl'}); use more particles, another size ratio or seed"
        )
    seconds = {line["name"]: line["seconds"] for line in read_lines(out / "packings.jsonl")}
    return [_row(packing, seconds.get(packing.name)) for packing in storage.read_packings(path)]


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
            packing = jam(job.mixture, generator(job.seed, "packings", job.index, attempt), job.protocol)
        except NotJammedError as error:
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
