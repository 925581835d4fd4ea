"""The jamming diagram: phi_J, moduli and who carries the load, over (size ratio, X_S), with the spread over seeds.

    OUT/diagram.jsonl    one line a packing, as they are finished
    OUT/failed.jsonl     one line an attempt that gave no packing in equilibrium, with its reason
    OUT/diagram.json     one row a mixture: means, and standard deviations over the seeds

A packing is a function of its mixture, seed and protocol alone, so a sweep goes on where it stopped, and grows.
Limits of large size contrast, for random close packing phi_R (Furnas, Ind. Eng. Chem. 23 (1931) 1052-1058): the large
ones jam and the small ones fit in between, phi_R / (1 - X_S); or the small ones jam around isolated large ones,
phi_R / (phi_R + (1 - phi_R) X_S).

Reference: Petit, Kumar, Luding, Sperl, arXiv:2103.02557.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wavesim import processes
from wavesim.errors import WavesimError
from wavesim.granular._lammps import EngineError, require_engine
from wavesim.granular.jamming import NotJammedError, Protocol, descended
from wavesim.granular.measures import measured, measured_on_the_way, strained
from wavesim.granular.mixture import Mixture, TooFewError
from wavesim.granular.progress import counted
from wavesim.granular.transition import JOINED, Bracket, modulus_on_the_way
from wavesim.granular.unloading import Unloading, usual
from wavesim.lock import sole_user
from wavesim.provenance import generator, log_lines, read_lines, revision, settings_hash, versions, write_json

ATTEMPTS = 3
SPREAD = ("phi_j", "phi_j_carrying", "pressure", "bulk_modulus", "LL", "LS", "SS", "shear_modulus", "coordination",
          "carrying_small", "carrying_large", "contacts_LL", "contacts_LS", "contacts_SL", "contacts_SS",
          "phi_j2", "phi_j2_jammed", "phi_j2_width", "pressure_2", "bulk_modulus_2", "LL_2", "LS_2", "SS_2",
          "carrying_small_2", "bulk_modulus_path", "bulk_modulus_equal", "distance")  # fmt: skip
EACH = ("phi_j", "bulk_modulus", "carrying_small", "phi_j2", "bulk_modulus_2")  # told of every packing
WAYS = ("phi_j", "phi_j_extrapolated")  # by K and by the last two pressures, that a bracket tests
# Shares of small particles that carry, further apart than this, are of two kinds of packings, whose mean is neither.
TWO_KINDS = 0.5
# Of the contacts with small particles, at which bulk_modulus_path is taken, and of all, for bulk_modulus_equal.
PRESSURE_SMALL, PRESSURE_EQUAL = 0.01, 0.006


@dataclass(frozen=True)
class _Job:
    """One packing to make and to measure."""

    mixture: Mixture
    seed: int
    number: int
    protocol: Protocol

    @property
    def key(self) -> str:
        return settings_hash([asdict(self.mixture), self.seed, self.number, self.protocol.describe()])


def generate_diagram(
    mixtures: Sequence[Mixture],
    seeds: int,
    out: Path,
    seed: int = 0,
    workers: int = 2,
    progress: bool = True,
    protocol: Protocol | None = None,
) -> list[dict[str, Any]]:
    """Jam and measure `seeds` packings of each mixture; go on where an earlier call stopped.

    A start that no attempt balances is replaced by another one, so many times for a mixture as it has seeds.

    Args:
        mixtures: the points of the diagram, see `points`.
        out: a folder, made where it is missing.
        seed: of everything random. workers: processes. protocol: `usual` where none is given.
    Returns:
        a row a mixture, as in OUT/diagram.json, with those that earlier calls made there; `failed` counts starts that
        no attempt balanced.
    Raises:
        WavesimError: LAMMPS missing, a full disk, a file where the folder should be, another sweep or packings in it,
            or a sweep of another seed or dimension, or one of the mixtures with another number of particles.
    """
    if protocol is not None and not 1.5 * protocol.pressure < protocol.start_pressure:
        raise WavesimError(
            f"pressure {protocol.pressure:g} at the end of a way down from start_pressure {protocol.start_pressure:g}: "
            "phi_J is extrapolated from two states, so start at least 1.5 times as high"
        )
    if seeds < 1 or not mixtures:
        raise WavesimError(f"{len(mixtures)} mixtures with {seeds} seeds each: give at least one of both")
    if workers < 1:
        raise WavesimError(f"workers {workers}: give at least 1")
    out, mixtures = Path(out), list(dict.fromkeys(mixtures))
    for mixture in mixtures:
        mixture.require_memory(min(workers, seeds * len(mixtures)))
    if out.exists() and not out.is_dir():
        raise WavesimError(f"{out} is a file; give a folder to write diagram.jsonl to")
    if (out / "packings.h5").exists():
        raise WavesimError(f"{out} holds packings.h5, and both write failed.jsonl; give another folder")
    with sole_user(out):
        _require_one_kind(mixtures, out, seed)
        _require_one_number(_all(mixtures, seeds, out)[0], out)
        while missing := _missing(mixtures, seeds, out, seed, protocol):
            require_engine()
            with counted("diagram", seeds * len(mixtures), seeds * len(mixtures) - len(missing), progress) as finished:
                for job, (row, failures) in _outcomes(missing, workers):
                    log_lines(out / "failed.jsonl", failures, key=job.key)
                    if row is not None:
                        log_lines(out / "diagram.jsonl", [row], key=job.key)
                    found = f"phi_J {row['phi_j']:.4f}" if row else f"failed: {failures[-1]['reason']}"
                    finished(f"size ratio {job.mixture.size_ratio:.3g}, X_S {job.mixture.concentration:.4g}: {found}")
        return summarise(*_all(mixtures, seeds, out), out, seed, protocol)


def summarise(
    mixtures: Sequence[Mixture], seeds: int, out: Path, seed: int = 0, protocol: Protocol | None = None
) -> list[dict[str, Any]]:
    """The rows of `generate_diagram` from what is there, finished or not; OUT/diagram.json is written anew."""
    out = Path(out)
    # In an order of their own: that in which they were finished is another one each time, and so is a sum's last digit.
    lines = sorted(read_lines(out / "diagram.jsonl"), key=lambda line: (line["number"], line["key"]))
    lost, rows = _lost(out), []
    for mixture in mixtures:
        keys = {job.key for job in _jobs([mixture], seeds, out, seed, protocol)}
        rows.append(_row(mixture, [line for line in lines if line["key"] in keys], len(keys & lost)))
    protocols = [json.loads(line) for line in sorted({(protocol or usual(one)).describe() for one in mixtures})]
    about = {"seed": seed, "seeds": seeds, "protocols": protocols, "versions": versions("scipy", "lammps")}
    write_json(out / "diagram.json", {**about, "revision": revision(), "rows": rows})
    return rows


def points(size_ratios: Sequence[float], fractions: Sequence[float], particles: int, dim: int) -> list[Mixture]:
    """The mixtures of a grid of size ratios and concentrations.

    Raises:
        WavesimError: a mixture that cannot be; of several with too few particles, that which needs most.
    """
    found, few = [], []
    for ratio, fraction in itertools.product(size_ratios, fractions):
        try:
            found.append(Mixture(particles, ratio, fraction, dim))
        except TooFewError as error:
            few.append(error)
    if few:
        raise max(few, key=lambda error: error.enough)
    return found


def furnas(fraction: np.ndarray, close_packing: float) -> tuple[np.ndarray, np.ndarray]:
    """Both limits of phi_J at concentrations `fraction`: the large ones jam, the small ones jam."""
    with np.errstate(divide="ignore"):
        return close_packing / (1 - fraction), close_packing / (close_packing + (1 - close_packing) * fraction)


def _make(job: _Job) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """A line, or None where no attempt gave a packing, and why attempts failed. Runs in a process of its own."""
    begin = time.perf_counter()
    of = {**asdict(job.mixture), "seed": job.seed, "number": job.number}
    failures = []
    for attempt in range(ATTEMPTS):
        rng = generator(job.seed, "diagram", settings_hash(asdict(job.mixture)), job.number, attempt)
        try:
            passed = descended(job.mixture, rng, job.protocol)
            row = measured(passed[-1], job.protocol)
            if isinstance(job.protocol, Unloading):
                row |= measured_on_the_way(passed)
            if job.number == 0:  # a check, which takes as long as the packing where small ones rattle by the thousand
                row |= strained(passed[-1], job.protocol)
        except (NotJammedError, EngineError) as error:
            failures.append({**of, "attempt": attempt, "reason": str(error)})
            continue
        return {**of, "attempt": attempt, **row, "seconds": round(time.perf_counter() - begin, 3)}, failures
    return None, failures


def _outcomes(jobs: list[_Job], workers: int) -> Iterator[tuple[_Job, Any]]:
    """As they come: what is finished behind a job of an hour is written at once."""
    with processes.pool(min(workers, len(jobs))) as pool:
        futures = {pool.submit(_make, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _jobs(mixtures: Sequence[Mixture], seeds: int, out: Path, seed: int, protocol: Protocol | None) -> list[_Job]:
    """Starts of all mixtures, seed by seed, so that a sweep cut short has some of each; lost ones are replaced."""
    lost, jobs = _lost(out), []
    for mixture in mixtures:
        every = [_Job(mixture, seed, number, protocol or usual(mixture)) for number in range(2 * seeds)]
        replaced = list(itertools.accumulate((job.key in lost for job in every), initial=0))
        jobs += [job for job, before in zip(every, replaced, strict=False) if job.number < seeds + before]
    return sorted(jobs, key=lambda job: job.number)


def _lost(out: Path) -> set[str]:
    """The keys of which every attempt failed."""
    failures = Counter(line["key"] for line in read_lines(out / "failed.jsonl"))
    return {key for key, attempts in failures.items() if attempts >= ATTEMPTS}


def _missing(mixtures: Sequence[Mixture], seeds: int, out: Path, seed: int, protocol: Protocol | None) -> list[_Job]:
    """Those of `_jobs` of which no line is there, and that are not lost."""
    done = _lost(out) | {line["key"] for line in read_lines(out / "diagram.jsonl")}
    return [job for job in _jobs(mixtures, seeds, out, seed, protocol) if job.key not in done]


def _require_one_kind(mixtures: Sequence[Mixture], out: Path, seed: int) -> None:
    """Of seed and dimension: a diagram has means over the packings of one seed, and its pictures have one unit of K."""
    lines = read_lines(out / "diagram.jsonl")
    for name, now in (("seed", {seed}), ("dim", {mixture.dim for mixture in mixtures})):
        if len(every := now | {line[name] for line in lines}) > 1:
            told = " and ".join(map(str, sorted(every)))
            raise WavesimError(f"{out} would hold packings of {name} {told}: give one of them, or another folder")


def _require_one_number(every: Sequence[Mixture], out: Path) -> None:
    """Of particles at each point of the diagram: its readers have one value there. every: in the order of `_all`."""
    for one, other in itertools.pairwise(every):
        if replace(one, particles=other.particles) == other:
            raise WavesimError(
                f"{out} would hold packings of {one.particles} and of {other.particles} particles at size ratio "
                f"{one.size_ratio:.4g}, X_S {one.concentration:.4g}: give the number that is there, or another folder"
            )


def _all(mixtures: Sequence[Mixture], seeds: int, out: Path) -> tuple[list[Mixture], int]:
    """These mixtures and what else the folder has, in order; and the most packings of one."""
    lines = read_lines(out / "diagram.jsonl")
    others = [Mixture(line["particles"], line["size_ratio"], line["small_fraction"], line["dim"]) for line in lines]
    every = sorted({*mixtures, *others}, key=lambda one: (one.dim, -one.size_ratio, one.concentration, one.particles))
    return every, max([seeds, *(line["number"] + 1 for line in lines)])


def _row(mixture: Mixture, lines: list[dict[str, Any]], failed: int) -> dict[str, Any]:
    """Means and standard deviations over the seeds of one mixture; where there are two kinds, over the larger one."""
    alike = _alike(lines)
    row: dict[str, Any] = {**asdict(mixture), "packings": len(lines), "others": len(lines) - len(alike)}
    row |= {"failed": failed, "each": {name: [line.get(name) for line in lines] for name in EACH}}
    alike = [{**line, **_on_the_way(line)} for line in alike]
    for line in lines:
        if "bulk_modulus_strain" in line:
            relaxed = line.get("bulk_modulus_relaxed", line["bulk_modulus"])
            row |= {"strain_ratio": line["bulk_modulus_strain"] / relaxed, "relaxed": relaxed / line["bulk_modulus"]}
            row["strain"] = line.get("strain", 1e-3)  # of older lines
        if line.get("gives_way"):
            row["gives_way"] = True
    for name in SPREAD:
        values = [line[name] for line in alike if name in line]
        if values:
            row[name] = float(np.mean(values))
            row[f"{name}_deviation"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    row["second"] = sum("phi_j2" in line for line in lines)
    ways = [[line[way] for way in WAYS] for line in lines if all(way in line for way in WAYS)]
    if ways:
        row["apart"] = max(abs(one - other) for one, other in ways)
    brackets = [(line, _bracket(line)) for line in lines if "probes" in line]  # once it was twice phi - phi_j wide
    if brackets:
        row["bracket"] = max(found.width for _, found in brackets)
        row["outside"] = max(found.misses(line[way]) for line, found in brackets for way in WAYS)
    if lines:
        row["seconds"] = float(np.mean([line["seconds"] for line in lines]))
    return row


def _bracket(line: dict[str, Any]) -> Bracket:
    return Bracket(line["phi_unjammed"], line["phi_jammed"], line["probes"])


def _alike(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of them; or next to X*_S, where in some packings the large ones jam alone and in others all, most of them."""
    shares = [line.get("carrying_small", 1.0) for line in lines]
    if not lines or max(shares) - min(shares) <= TWO_KINDS:
        return lines
    joint = sum(share >= JOINED for share in shares) > len(lines) / 2
    return [line for line, share in zip(lines, shares, strict=True) if (share >= JOINED) == joint]


def _on_the_way(line: dict[str, Any]) -> dict[str, float]:
    """K of an unloading at the pressures at which mixtures are compared, and how far apart the transitions are."""
    found = {}
    if "path" in line:
        known = {
            "bulk_modulus_path": modulus_on_the_way(line["path"], PRESSURE_SMALL),
            "bulk_modulus_equal": modulus_on_the_way(line["path"], PRESSURE_EQUAL, "pressure"),
        }
        found = {name: value for name, value in known.items() if value is not None}
    return {**found, "distance": line["phi_j2"] - line["phi_j"]} if "phi_j2" in line else found
