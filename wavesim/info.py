"""What a file or folder is, and where it comes from: models, datasets, packings, runs, and folders that hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wavesim.errors import WavesimError
from wavesim.provenance import read_lines

KINDS = "a model, a dataset, a packings file, a jamming diagram or a run"
PACKING = ("size_ratio", "phi_j", "coordination", "rattler_fraction", "bulk_modulus")
MIXTURE = ("dim", "size_ratio", "small_fraction", "particles", "packings", "phi_j", "phi_j_deviation", "bulk_modulus")


def info_text(path: str | Path) -> str:
    """What `wavesim info` prints.

    Raises:
        WavesimError: nothing there, or nothing of ours.
    """
    path = Path(path)
    if not path.exists():
        raise WavesimError(f"{path} does not exist; give {KINDS}, or a folder of models such as data/models/demo")
    if path.suffix == ".safetensors":
        return _model(path)
    if path.suffix in (".h5", ".hdf5") and path.is_file():
        return _hdf5(path)
    if (path / "config.json").is_file() and not (path / "data").is_dir():
        from wavesim.report import summary

        return summary(path)
    if path.name == "diagram.json":
        return _diagram(path)
    models = sorted(path.glob("*.safetensors"))
    found = [
        *([_dataset(path)] if (path / "data").is_dir() else []),
        *([_hdf5(path / "packings.h5")] if (path / "packings.h5").is_file() else []),
        *([_sweep(path)] if (path / "diagram.jsonl").is_file() else []),
        *([_models(path, models)] if models else []),
    ]
    if not found:
        inside = sorted(each.name for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
        hint = f"; of the folders in it, give one: {', '.join(inside[:5])}" if inside else ""
        raise WavesimError(f"{path} is not {KINDS}, and holds none{hint}")
    return "\n".join(found)


def columns(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The values of `names` in every row, as right-aligned columns below their names."""

    def text(value: Any) -> str:
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    cells = [list(names), *([text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells)


def _model(path: Path) -> str:
    from wavesim.surrogate import load
    from wavesim.surrogate.checkpoint import read_header

    header, model = read_header(path), load(path)
    shape = header["config"]
    zeros = sum(int((weight == 0).sum()) for weight in model.parameters())
    sparse = f", {zeros:,} of them zero" if zeros else ""
    return "\n".join(
        (
            f"{path}: a {shape.kind} forecaster, {model.weights():,} parameters{sparse}, "
            f"{path.stat().st_size / 1e3:.1f} kB, {model.macs((64, 64))['frame'] / 1e6:.2f} MMAC a 64 x 64 frame",
            f"  width {shape.width}, kernel {shape.kernel_size}, ranks {list(shape.ranks)}, "
            f"coarse sub-steps {shape.substeps}",
            *(f"  {key}: {value}" for key, value in header["about"].items()),
        )
    )


def _models(folder: Path, paths: Sequence[Path]) -> str:
    from wavesim.surrogate import load
    from wavesim.surrogate.checkpoint import read_header

    rows = []
    for path in paths:
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
    several = f"{len(rows)} forecasters" if len(rows) > 1 else "a forecaster"
    return f"{folder}: {several}; `wavesim info {paths[0]}` says more of one\n" + columns(rows, tuple(rows[0]))


def _hdf5(path: Path) -> str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            whole = {name: group.attrs for name, group in file.items() if "phi_j" in group.attrs}
            rows = [{"name": name, **{key: found.get(key) for key in PACKING}} for name, found in whole.items()]
            shape = list(file["t0_fields/pressure"].shape) if "t0_fields/pressure" in file else []
    except (OSError, AttributeError) as error:
        raise WavesimError(f"{path} is not a whole HDF5 file of packings or waves ({error})") from error
    if len(shape) == 4:
        return (
            f"{path}: a dataset's file, {shape[0]} x {shape[1]} frames on {shape[2]} x {shape[3]} cells; "
            "give the dataset's folder, the one that holds data/, to learn more"
        )
    if not rows:
        raise WavesimError(f"{path} is an HDF5 file, but not {KINDS}")
    return f"{path}: {len(rows)} packings\n" + columns(rows, ("name", *PACKING))


def _diagram(path: Path) -> str:
    try:
        rows = json.loads(path.read_text())["rows"]
        table = columns(rows, MIXTURE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WavesimError(f"{path} is no jamming diagram ({error!r}); `wavesim generate diagram` makes one") from error
    return f"{path}: the jamming diagram of {len(rows)} mixtures, means and standard deviations over packings\n{table}"


def _sweep(folder: Path) -> str:
    finished, failed = (read_lines(folder / f"{name}.jsonl") for name in ("diagram", "failed"))
    attempts = f"; {len(failed)} attempts came to no equilibrium, see failed.jsonl" if failed else ""
    begun = f"{folder}: {len(finished)} packings measured{attempts}"
    whole = folder / "diagram.json"  # written when the sweep ends
    return f"{begun}\n{_diagram(whole)}" if whole.is_file() else f"{begun}; call `wavesim generate diagram` to go on"


def _dataset(path: Path) -> str:
    from wavesim.dataset import WaveDataset, check

    counts = check(path)
    data = WaveDataset(path, next(iter(counts)))
    return "\n".join(
        (
            f"{path}: waves on {data.grid[1]} x {data.grid[0]} cells, "
            f"{data.frames} frames every {data.frame_interval:.5g}",
            "  " + ", ".join(f"{n} {split}" for split, n in counts.items()),
            f"  settings: {data.about(0).get('config', 'not said')}",
        )
    )
