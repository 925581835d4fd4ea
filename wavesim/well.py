"""The Well's acoustic scattering files as a dataset of ours, so that forecasters can be trained on them.

Their fields become ours as `well_source` says. Lengths and times stay as they are in the file.

Format and data: PolymathicAI/the_well, docs/data_format.md and datasets/acoustic_scattering_*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wavesim.dataset import SPLITS, check, open_shard, write_checksums, write_statistics
from wavesim.errors import WavesimError
from wavesim.fem.card import write_imported_card
from wavesim.given import refuse_pickle
from wavesim.lock import sole_user
from wavesim.provenance import file_hash
from wavesim.shard import Shard, write_shard
from wavesim.well_source import AXES, Source, fields, inspect, opened

TOGETHER = 2  # trajectories in one file: 0.2 GB each at 202 frames of 256 x 256, and as much again while computing


@dataclass(frozen=True)
class Found:
    """A file to import. split: where its trajectories go."""

    split: str
    sha256: str
    source: Source


def import_well(source: str | Path, out: str | Path, split: str = "test") -> dict[str, int]:
    """Write the trajectories of a file, or of a folder with data/{train,valid,test}, as a dataset; go on after a kill.

    Args:
        split: where a single file's trajectories go.
    Returns:
        the number of trajectories of each split.
    Raises:
        WavesimError: before anything is written: nothing to import; a file without the fields above, or with a grid or
            times that are not uniform; a folder that was not imported, or that holds another file of the name, the same
            file elsewhere, or trajectories of another shape; another process at work in it.
    """
    source, out = Path(source), Path(out)
    if split not in SPLITS:
        raise WavesimError(f"split '{split}' is not one of {', '.join(SPLITS)}")
    refuse_pickle(source, "an .hdf5 file, or the folder of a dataset")
    if source.is_file():
        found = [(split, source)]
    else:
        folders = [(name, source / "data" / name) for name in SPLITS]
        found = [(name, path) for name, folder in folders for path in sorted(folder.glob("*.h*5"))]
    if not found:
        raise WavesimError(f"{source} is no .hdf5 file, and no folder with {source}/data/train/*.hdf5 and its like")
    sources = [Found(name, file_hash(path), inspect(path)) for name, path in found]
    _require_apart(sources, out)
    with sole_user(out):
        _require_apart(sources, out)  # once more, now that nobody else adds to it
        for one in sources:
            for first, shard in _shards(one, out):
                write_shard(_file(one, out, first), shard, f"imported_{one.source.path.stem}")
        if (out / "data" / "train").is_dir():
            write_statistics(out)
        write_checksums(out)
        counts = check(out)
        write_imported_card(out, counts)
    return counts


def _file(one: Found, out: Path, first: int) -> Path:
    return out / "data" / one.split / f"{one.source.path.stem}_{first:06d}.hdf5"


def _require_apart(sources: Sequence[Found], out: Path) -> None:
    """Raises WavesimError where the sources and what lies in `out` are no one dataset with splits of its own."""
    if (out / "settings.json").exists():
        raise WavesimError(f"{out} was made by `wavesim generate waves`; import into another --out")
    owner: dict[str, tuple[str, str]] = {}  # of each name: split and SHA-256
    shape: dict[str, tuple[float, ...]] = {}  # of each split
    for name in SPLITS:
        for path in sorted((out / "data" / name).glob("*.hdf5")):
            with open_shard(path) as file:
                about = json.loads(file.attrs["wavesim"])
                shape[name] = _shape([file[axis][:] for axis in AXES])
            if "imported" not in about:
                raise WavesimError(f"{path} was not imported; import into another --out than {out}")
            owner[Path(about["imported"]["file"]).stem] = name, about["imported"]["sha256"]
    for one in sources:
        path, own = one.source.path, (one.split, one.sha256)
        stem = path.stem
        for other, (split, sha256) in owner.items():
            if sha256 == one.sha256 and (other, split) != (stem, one.split):
                raise WavesimError(
                    f"{path} for {one.split} is {other} of {split} in {out} again, and no trajectory may be there "
                    "twice; leave it out"
                )
        if owner.setdefault(stem, own) != own:
            raise WavesimError(
                f"{path} for {one.split} has the name of {stem} of {owner[stem][0]} in {out}, and other content; "
                "rename it, or give another --out"
            )
        if not np.allclose(
            shape.setdefault(one.split, _shape(one.source.axes)), _shape(one.source.axes), rtol=1e-6, atol=0
        ):
            raise WavesimError(
                f"{path} has other frames, cells, frame interval or lengths ({_numbers(_shape(one.source.axes))}) than "
                f"{one.split} has ({_numbers(shape[one.split])}); give another --out"
            )


def _shape(axes: Sequence[np.ndarray]) -> tuple[float, ...]:
    """The numbers of frames and of cells along x and y, and their distances."""
    return (*(axis.size for axis in axes), *(float(np.ptp(axis.astype(float))) / (axis.size - 1) for axis in axes))


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _shards(one: Found, out: Path) -> Iterator[tuple[int, Shard]]:
    """The files that are not there yet, each with the number of its first trajectory."""
    source = one.source
    about = {"imported": {"file": source.path.name, "sha256": one.sha256}, "dataset": source.dataset}
    time, x, y = source.axes
    with opened(source.path) as file:
        for first in range(0, source.trajectories, TOGETHER):
            if _file(one, out, first).exists():
                continue
            rows = slice(first, min(first + TOGETHER, source.trajectories))
            pressure, rate, bulk_modulus, density = (values.swapaxes(-1, -2) for values in fields(source, file, rows))
            yield (
                first,
                Shard(
                    pressure=pressure,
                    pressure_rate=rate,
                    bulk_modulus=bulk_modulus,
                    density=density,
                    time=time - time[0],
                    x=x,
                    y=y,
                    parameters={},
                    about={**about, "first": first},
                    sides=source.sides,
                    gzip=True,
                ),
            )
