"""Which trajectories go into which file of a dataset, and which file into which split.

    packings    one file a packing; the shares of every size ratio, at least one packing of it in each split
    presets     one file a batch of `shard` trajectories; a file's split does not depend on how many there are

No medium is in two splits: a packing is in one file, and each trajectory of a preset has a medium of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.config import GrainsConfig, WaveSettings
from wavesim.dataset import SPLITS
from wavesim.errors import WavesimError, missing_engine
from wavesim.fem.packing_mesh import SquarePacking, read
from wavesim.fem.presets import draw_grains
from wavesim.fem.stored import draw_preset
from wavesim.preset_config import PresetConfig, ResolvedConfig
from wavesim.provenance import generator, settings_hash
from wavesim.shard import stored_bytes

MESH_BYTES = 1200.0  # of a mesh of 64 grains, times the square of its element size


@dataclass(frozen=True)
class Job:
    """One file to make: `rows` trajectories, those in `verified` one degree higher too.

    index: of the file, or of its packing.
    """

    path: Path
    config: WaveSettings
    seed: int
    index: int
    rows: int
    verified: tuple[int, ...]
    packing: SquarePacking | None = None

    @property
    def bytes(self) -> int:
        """What its fields take on the disk at most, and its mesh about."""
        fields = stored_bytes(self.rows, self.config.frames, self.config.domain.cells)
        if isinstance(self.config, ResolvedConfig) and self.config.road == "conforming":
            return fields + int(MESH_BYTES / self.config.element_size**2)
        return fields


@dataclass(frozen=True)
class Plan:
    """A dataset to make in the folder `out`: its files, and what marks the folder."""

    out: Path
    jobs: list[Job]
    claim: dict[str, Any]

    @property
    def missing(self) -> list[Job]:
        """The files that are not there yet."""
        return [job for job in self.jobs if not job.path.exists()]


def plan_dataset(config: WaveSettings, packings: Path | None, out: Path, seed: int, n: int | None) -> Plan:
    """`n` trajectories of any settings, by default 64, or `pulses` through each packing.

    Raises:
        WavesimError: packings missing, or given where none are asked for; as `plan_packings` and `plan_preset`.
    """
    if isinstance(config, PresetConfig):
        if packings is not None:
            raise WavesimError(f"--packings is for the presets of packings; {config.preset} draws its own media")
        return plan_preset(config, out, 64 if n is None else n, seed)
    assert isinstance(config, GrainsConfig)
    if packings is None:
        raise WavesimError("waves through packings need --packings: a packings.h5, by `wavesim generate packings`")
    return plan_packings(config, packings, out, seed, n)


def plan_packings(config: GrainsConfig, packings: Path, out: Path, seed: int, n: int | None = None) -> Plan:
    """One file a packing; `n` trajectories in all, by default `config.pulses` through each.

    Raises:
        WavesimError: bad packings, too few of them, or n that they cannot share; gmsh is needed and not installed.
    """
    if isinstance(config, ResolvedConfig) and config.road == "conforming" and find_spec("gmsh") is None:
        raise missing_engine("gmsh", "meshing packings (road raster and the preset packing-smooth go without)", "mesh")
    square = read(packings)
    if n is not None:
        if n % len(square):
            raise WavesimError(f"n {n} trajectories do not share {packings}, {len(square)} packings; use a multiple")
        config = config.model_copy(update={"pulses": n // len(square)})
    splits = split([packing.size_ratio for packing in square], config)
    claim = {
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "packings": settings_hash([plain(one) for one in square]),
    }
    out = out.absolute()  # whoever makes a file may work in another folder
    return Plan(out, list(_jobs(config, square, splits, out, seed)), claim)


def plan_preset(config: PresetConfig, out: Path, n: int, seed: int) -> Plan:
    """One file a batch. Raises WavesimError where a split would get no file, or all of them the same medium."""
    files = -(-n // config.shard)
    if files < len(SPLITS):
        raise WavesimError(
            f"n {n} makes {files} file{'s' * (files > 1)} of {config.shard} trajectories, and each of "
            f"{', '.join(SPLITS)} needs its own; use n {2 * config.shard + 1} or more, or a smaller shard"
        )
    domain = config.domain
    first, second = (draw_preset(config, seed, k)[0].cells(domain.cells, domain.lengths) for k in range(2))
    if np.array_equal(first, second):
        drawn = {key: getattr(config, key, None) for key in ("bulk_moduli", "densities", "layers", "radii", "contrast")}
        said = ", ".join(f"{key} {value}" for key, value in drawn.items() if value is not None)
        raise WavesimError(
            f"preset '{config.preset}' would draw one medium again and again, and splits must not share one: widen "
            f"what it draws from ({said})"
        )
    out, jobs = out.absolute(), []
    for index, name in enumerate(file_splits(files, config)):
        rows = min(config.shard, n - index * config.shard)
        path = out / "data" / name / f"{config.preset}_{index:06d}.hdf5"
        jobs.append(Job(path, config, seed, index, rows, tuple(range(min(config.verified, rows)))))
    return Plan(out, jobs, {"config": config.model_dump(mode="json"), "seed": seed, "n": n})


def file_splits(files: int, config: PresetConfig) -> list[str]:
    """The split of each file, whatever their number: one for each first, then whichever is furthest below its share."""
    shares = {"train": 1 - config.valid_share - config.test_share, "valid": config.valid_share,
              "test": config.test_share}  # fmt: skip
    splits = list(SPLITS)
    for index in range(len(SPLITS), files):
        splits.append(max(SPLITS, key=lambda name: shares[name] * (index + 1) - splits.count(name)))
    return splits[:files]


def split(size_ratios: Sequence[float], config: GrainsConfig) -> list[str]:
    """The split of each packing: the config's shares of every size ratio, at least one packing of it in each split.

    Raises:
        WavesimError: a size ratio with fewer packings than splits.
    """
    splits, kinds = [""] * len(size_ratios), _kinds(size_ratios)
    for ratio in sorted(set(kinds)):
        own = [i for i, other in enumerate(kinds) if other == ratio]
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


def _kinds(size_ratios: Sequence[float]) -> list[float]:
    """Of each size ratio the least one that it equals to a millionth: rounding makes no other mixture."""
    least: list[float] = []
    for ratio in sorted(size_ratios):
        if not least or ratio - least[-1] > 1e-6:
            least.append(ratio)
    return [least[bisect_right(least, ratio) - 1] for ratio in size_ratios]


def _jobs(
    config: GrainsConfig, packings: list[SquarePacking], splits: list[str], out: Path, seed: int
) -> Iterator[Job]:
    """One job a packing, whose grains may be of a matter of their own; the `config.verified` trajectories alternate
    between the size ratios of the test split."""
    test = [i for i, name in enumerate(splits) if name == "test"]
    kinds = _kinds([packings[i].size_ratio for i in test])
    rank = {i: kinds[:place].count(kinds[place]) for place, i in enumerate(test)}
    test.sort(key=lambda i: (rank[i], i))
    turns = [(i, row) for row in range(config.pulses) for i in test][: config.verified]
    for i, (packing, name) in enumerate(zip(packings, splits, strict=True)):
        path = out / "data" / name / f"packing_{packing.name}.hdf5"
        own: GrainsConfig = config
        if isinstance(config, ResolvedConfig):
            own = draw_grains(config, generator(seed, "grains", i))
        yield Job(path, own, seed, i, config.pulses, tuple(row for owner, row in turns if owner == i), packing)


def plain(packing: SquarePacking) -> dict[str, Any]:
    """A packing as JSON can hold it."""
    return {**asdict(packing), "positions": packing.positions.tolist(), "radii": packing.radii.tolist()}
