"""Copy a demo run's models, with cards, and a small sample of its data into data/: RUN as the only argument.

    python benchmarks/ship_models.py runs/demo

data/models/demo: the three models, their histories, a card. data/sample: one test trajectory through a packing of
each size ratio, and the packings' own file, so that `wavesim view data/models/demo` works right after set-up.
"""

import json
import shutil
import sys
from pathlib import Path

import h5py

from wavesim.cli import info_text
from wavesim.config import RunConfig
from wavesim.dataset import open_shard
from wavesim.errors import WavesimError
from wavesim.provenance import file_hash
from wavesim.tables import markdown

ROOT = Path(__file__).parents[1]


def main(run: Path) -> None:
    """Fill data/models/demo and data/sample from RUN."""
    settings = json.loads((run / "config.json").read_text())
    if settings["config"] != RunConfig().model_dump(mode="json"):
        raise WavesimError(f"{run} was not made with the default settings, and the card would say so")
    models, sample = ROOT / "data" / "models" / "demo", ROOT / "data" / "sample"
    for folder in (models, sample):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for path in sorted((run / "models").glob("*.safetensors")) + sorted((run / "models").glob("*.jsonl")):
        shutil.copy(path, models / path.name)
    chosen: dict[float, Path] = {}
    for path in sorted((run / "waves" / "data" / "test").glob("*.hdf5")):
        with open_shard(path) as file:
            chosen.setdefault(json.loads(file.attrs["wavesim"])["packing"]["size_ratio"], path)
    (sample / "data" / "test").mkdir(parents=True)
    for path in chosen.values():
        _first_trajectories(path, sample / "data" / "test" / path.name, 1)
    shutil.copy(run / "packings.h5", sample / "packings.h5")
    (models / "README.md").write_text(_card(run, models))


def _first_trajectories(source: Path, target: Path, count: int) -> None:
    """The same file with only its first trajectories, compressed."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        new.attrs.update(old.attrs)
        about = json.loads(old.attrs["wavesim"])
        about["trajectories"] = about["trajectories"][:count]
        about["truth_error"] = [entry for entry in about["truth_error"] if entry["trajectory"] < count]
        new.attrs["wavesim"] = json.dumps(about, sort_keys=True)
        new.attrs["n_trajectories"] = count

        def copy(name: str, there: h5py.Group | h5py.Dataset) -> None:
            if isinstance(there, h5py.Group):
                here = new.create_group(name)
            elif there.attrs.get("sample_varying", False):
                kept = {"chunks": there.chunks, "compression": "gzip", "shuffle": True} if there.chunks else {}
                here = new.create_dataset(name, data=there[:count], **kept)
            else:
                here = new.create_dataset(name, data=there[()])
            here.attrs.update(there.attrs)

        old.visititems(copy)


def _card(run: Path, models: Path) -> str:
    settings = json.loads((run / "config.json").read_text())
    results = json.loads((run / "results.json").read_text())
    described = "\n\n".join(
        f"`{path.name}`, SHA-256 {file_hash(path)[:16]}\n\n```\n"
        + info_text(path).replace(str(path), path.name)
        + "\n```"
        for path in sorted(models.glob("*.safetensors"))
    )
    return f"""# The demo's models

Made by `wavesim demo --seed {settings["seed"]}` (default settings), then `python benchmarks/ship_models.py RUN`.
Trained on FE waves through jammed packings (grains: bulk modulus x {settings["config"]["waves"]["bulk_modulus"]:g},
density x {settings["config"]["waves"]["density"]:g}), {results["grid"][1]} x {results["grid"][0]} cells, a frame every
{results["frame_interval"]:.5g} crossings, rigid walls. They forecast any domain size with the same frame interval over
cell size, and media in which the coarse step is stable; errors are known for media of the kind they were trained on.
MIT licence.

Errors over {results["trajectories"]} test trajectories, packings that no model has seen:

{markdown(results)}
{described}
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
