"""What a file or folder is, and where it comes from: models, datasets, packings, runs, and folders that hold them.

Of a folder that a kill or a failure has left, what is there is told all the same, with what is broken and why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wavesim.errors import WavesimError
from wavesim.given import refuse_pickle
from wavesim.provenance import read_lines

BROKEN = "broken:"
KINDS = "a model, a dataset, a packings file, a jamming diagram or a run"
PACKING = ("dim", "size_ratio", "small_fraction", "phi_j", "coordination", "rattler_fraction", "bulk_modulus")
MIXTURE = ("dim", "size_ratio", "small_fraction", "particles", "packings", "phi_j", "phi_j_deviation", "bulk_modulus")
SECOND = ("phi_j2", "bulk_modulus_2")


def info_text(path: str | Path) -> str:
    """What `wavesim info` prints.

    Raises:
        WavesimError: nothing there, nothing of ours, or a single file that is broken.
    """
    path = Path(path)
    if not path.exists():
        raise WavesimError(f"{path} does not exist; give {KINDS}, or a folder of models such as data/models/demo")
    refuse_pickle(path, f"{KINDS}, a model being a .safetensors file")
    if path.suffix == ".safetensors":
        return _model(path)
    if path.suffix in (".h5", ".hdf5") and path.is_file():
        return _hdf5(path)
    if path.name == "diagram.json":
        return _diagram(path)
    found = _folder(path)
    if not found:
        every = path.iterdir() if path.is_dir() else ()
        inside = sorted(each.name for each in every if each.is_dir() or each.name == "diagram.json")
        hint = f"; of what is in it, give one: {', '.join(inside[:5])}" if inside else ""
        raise WavesimError(f"{path} is not {KINDS}, and holds none{hint}")
    return "\n".join(found)


def _folder(path: Path) -> list[str]:
    """What each kind of thing in a folder is, as far as it is there and can be read."""
    run, told = (path / "config.json").is_file() and not (path / "data").is_dir(), []
    if run and (path / "results.json").is_file():
        from wavesim.report import summary

        told = [_or_why(lambda _: summary(path), path / "results.json")]
        if not told[0].startswith(BROKEN):
            return told
    models, claim = sorted(path.glob("*.safetensors")), path / "settings.json"
    failed, sweep = path / "failed.jsonl", path / "diagram.jsonl"
    kinds: list[tuple[bool, Callable[[Path], str], Path]] = [
        (run, _demo, path),
        ((path / "config.toml").is_file() and not (path / "model.safetensors").is_file(), _training, path),
        ((path / "data").is_dir() or claim.is_file(), _dataset, path),
        ((path / "packings.h5").is_file(), _packings, path),
        (sweep.is_file(), _sweep, path),
        (failed.is_file() and not sweep.is_file(), _failed, failed),
        (bool(models), _models, path),
        (any(path.glob(".*.pruning")), _pruning, path),
    ]
    return told + [_or_why(tell, of) for there, tell, of in kinds if there]


def _or_why(tell: Callable[[Path], str], path: Path) -> str:
    """What `tell` says of `path`, or that it is broken and why."""
    try:
        return tell(path)
    # h5py, json and what reads their contents have no common word for what is damaged.
    except (WavesimError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = str(error) if isinstance(error, WavesimError) else f"{type(error).__name__}: {error}"
        return f"{BROKEN} {'' if str(path) in why else f'{path}: '}{' '.join(why.split())}"


def second_transition(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Names of what a diagram says of its second transition, if it has one."""
    return [name for name in SECOND if any(row.get(name) is not None for row in rows)]


def columns(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The values of `names` in every row, as right-aligned columns below their names."""

    def text(value: Any) -> str:
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    cells = [list(names), *([text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells)


def _model(path: Path) -> str:
    from wavesim.surrogate import load
    from wavesim.surrogate.band import band_file, load_band
    from wavesim.surrogate.checkpoint import read_header

    header, model = read_header(path), load(path)
    shape, about = header["config"], header["about"]
    zeros = sum(int((weight == 0).sum()) for weight in model.parameters())
    sparse = f", {zeros:,} of them zero" if zeros else ""
    return "\n".join(
        (
            f"{path}: forecaster '{shape.kind}', {model.weights():,} parameters{sparse}, "
            f"{path.stat().st_size / 1e3:.1f} kB, {model.macs((64, 64))['frame'] / 1e6:.2f} MMAC a 64 x 64 frame",
            f"  width {shape.width}, kernel {shape.kernel_size}, ranks {list(shape.ranks)}, "
            f"coarse sub-steps {shape.substeps}",
            *([f"  {_or_why(lambda file: str(load_band(file)), band)}"] if (band := band_file(path)).is_file() else []),
            *(f"  {key}: {_said(about[key])}" for key in sorted(about, key=lambda key: key != "validation_error")),
        )
    )


def _said(value: Any) -> str:
    """A value of a file's header in words, its numbers to four digits."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _models(folder: Path) -> str:
    from wavesim.surrogate import load
    from wavesim.surrogate.checkpoint import models_in, read_header

    rows: list[dict[str, Any]] = []

    def add(path: Path) -> str:
        header, model = read_header(path), load(path)
        rows.append(
            {
                "name": path.stem,
                "network": header["config"].kind,
                "parameters": f"{model.weights():,}",
                "kB": round(path.stat().st_size / 1e3, 1),
                "MMAC a 64 x 64 frame": f"{model.macs((64, 64))['frame'] / 1e6:.2f}",
                "validation error": header["about"].get("validation_error"),
            }
        )
        return ""

    broken = [why for path in models_in(folder) if (why := _or_why(add, path))]
    if not rows:
        return "\n".join(broken) or f"{folder}: regressors of `wavesim learn-pruning`, and no forecaster"
    several = f"{len(rows)} forecasters" if len(rows) > 1 else "a forecaster"
    one = folder / f"{rows[0]['name']}.safetensors"
    table = columns(rows, tuple(rows[0]))
    return "\n".join([f"{folder}: {several}; `wavesim info {one}` says more of one", table, *broken])


def _hdf5(path: Path) -> str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            begun = "settings_hash" in file.attrs  # a packings.h5, be there a packing in it or none yet
            whole = {name: group.attrs for name, group in file.items() if "phi_j" in group.attrs}
            rows = [
                {"name": name, "particles": len(file[name]["radii"]), **{key: found.get(key) for key in PACKING}}
                for name, found in whole.items()
            ]
            shape = list(file["t0_fields/pressure"].shape) if "t0_fields/pressure" in file else []
    except (OSError, AttributeError, KeyError) as error:
        raise WavesimError(f"{path} is not a whole HDF5 file of packings or waves ({error})") from error
    if len(shape) == 4:
        return (
            f"{path}: a dataset's file, {shape[0]} x {shape[1]} frames on {shape[2]} x {shape[3]} cells; "
            "give the dataset's folder, the one that holds data/, to learn more"
        )
    if not rows and begun:
        return f"{path}: no packing yet; call `wavesim generate packings` as before to go on"
    if not rows:
        raise WavesimError(f"{path} is an HDF5 file, but not {KINDS}")
    units = "bulk_modulus in k_n / d^(D-2), d the diameter of large ones, k_n the springs' constant"
    table = columns(rows, ("name", "particles", *PACKING))
    return f"{path}: {len(rows)} packing{'s' * (len(rows) > 1)}; {units}\n{table}"


def _packings(folder: Path) -> str:
    failed = folder / "failed.jsonl"
    told = _hdf5(folder / "packings.h5")
    return f"{told}\n{_or_why(_failed, failed)}" if failed.is_file() else told


def _failed(path: Path) -> str:
    reasons = [line.get("reason") for line in read_lines(path)]
    last = f", the last: {reasons[-1]}" if reasons else ""
    return f"{path}: {len(reasons)} attempts came to no equilibrium{last}"


def _demo(folder: Path) -> str:
    """A run of the demo without results: its finished stages, and what they left."""
    from wavesim.demo import STAGES

    stages = folder / "stages.json"
    finished = json.loads(stages.read_text()) if stages.is_file() else {}
    done = ", ".join(name for name in STAGES if name in finished) or "none"
    told = [f"{folder}: a run without results; finished stages: {done}; call `wavesim demo --out {folder}` to go on"]
    for part in (folder / "waves", folder / "models"):
        if part.is_dir():
            told += _folder(part)
    return "\n".join(told)


def _training(folder: Path) -> str:
    log = folder / "log.txt"
    last = log.read_text(errors="replace").splitlines()[-1:] if log.is_file() else []
    return "\n".join(
        [
            f"{folder}: a training that is not whole; call `wavesim train` as before to go on from its last validation",
            *(f"  {line}" for line in last),
        ]
    )


def _pruning(folder: Path) -> str:
    names = sorted(path.name[1 : -len(".pruning")] for path in folder.glob(".*.pruning"))
    files = ", ".join(f"{name}.safetensors" for name in names)
    return f"{folder}: pruning to {files} is not whole; call `wavesim prune` as before to go on from its last round"


def _diagram(path: Path) -> str:
    try:
        rows = json.loads(path.read_text())["rows"]
        table = columns(rows, (*MIXTURE, *second_transition(rows)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WavesimError(f"{path} is no jamming diagram ({error!r}); `wavesim generate diagram` makes one") from error
    return f"{path}: the jamming diagram of {len(rows)} mixtures, means and standard deviations over packings\n{table}"


def _sweep(folder: Path) -> str:
    finished, failed = (read_lines(folder / f"{name}.jsonl") for name in ("diagram", "failed"))
    attempts = f"; {len(failed)} attempts came to no equilibrium, see failed.jsonl" if failed else ""
    begun = f"{folder}: {len(finished)} packings measured{attempts}"
    whole = folder / "diagram.json"  # written when the sweep ends
    if not whole.is_file():
        return f"{begun}; call `wavesim generate diagram` to go on"
    told = _or_why(_diagram, whole)
    rows = [] if told.startswith(BROKEN) else json.loads(whole.read_text())["rows"]
    if rows and sum(row["packings"] for row in rows) < len(finished):
        begun += ", not all of them in the table; call `wavesim generate diagram` to go on"
    return f"{begun}\n{told}"


def _theirs(path: Path) -> str | None:
    """What there is to say of The Well's files; None for ours, and for what cannot be read."""
    from wavesim.dataset import SPLITS
    from wavesim.well_dataset import WellDataset, open_split

    splits = [split for split in SPLITS if any((path / "data" / split).glob("*.hdf5"))]
    try:
        theirs = open_split(path, splits[0]) if splits else None
    except WavesimError:
        return None
    if not isinstance(theirs, WellDataset):
        return None
    cells, name = f"{theirs.grid[1]} x {theirs.grid[0]} cells", theirs.about(0)["dataset"]
    return "\n".join(
        (
            f"{path}: The Well's files of {name}, waves on {cells}, "
            f"{theirs.frames} frames every {theirs.frame_interval:.5g}, sides {', '.join(theirs.sides)}",
            "  " + ", ".join(f"{len(open_split(path, split))} {split}" for split in splits),
            "  train, prune and evaluate read them as they are; `wavesim import` makes a dataset of them",
        )
    )


def _dataset(path: Path) -> str:
    from wavesim.dataset import SPLITS, WaveDataset, check

    if theirs := _theirs(path):
        return theirs
    files = {split: sorted((path / "data" / split).glob("*.hdf5")) for split in SPLITS}
    begun = ", ".join(f"{len(own)} {split}" for split, own in files.items())
    broken = [why for own in files.values() for file in own if (why := _or_why(_opens, file))]
    if (path / "settings.json").is_file() and not (all(files.values()) and (path / "checksums.txt").is_file()):
        go_on = "call `wavesim generate waves` as before to go on"
        return "\n".join([f"{path}: waves that are not whole, {begun} files so far; {go_on}", *broken])
    counts: dict[str, int] = {}
    broken = broken or [why for why in [_or_why(lambda root: counts.update(check(root)) or "", path)] if why]
    if broken:
        return "\n".join([f"{path}: waves, {begun} files", *broken])
    data = WaveDataset(path, next(iter(counts)))
    return "\n".join(
        (
            f"{path}: waves on {data.grid[1]} x {data.grid[0]} cells, "
            f"{data.frames} frames every {data.frame_interval:.5g}",
            "  " + ", ".join(f"{n} {split}" for split, n in counts.items()),
            f"  settings: {data.about(0).get('config', 'not said')}",
        )
    )


def _opens(file: Path) -> str:
    from wavesim.shard import open_shard

    open_shard(file).close()
    return ""
