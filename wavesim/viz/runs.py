"""What belongs to a run: its forecasters, the dataset near them, and a live session on both.

RUN/models/NAME.safetensors, RUN/waves       a demo's run
RUN/model.safetensors, RUN/config.toml       a training's, which names its dataset
NAME.safetensors                             a folder of models, or one, with waves, ../waves or ../../sample near it
"""

from __future__ import annotations

from pathlib import Path

from wavesim.dataset import SPLITS
from wavesim.errors import WavesimError
from wavesim.given import model_file, refuse_other_models
from wavesim.recipes import trained_on
from wavesim.surrogate.checkpoint import models_in
from wavesim.viz.session import Session
from wavesim.viz.sources import LiveTruth, RecordedTruth, SavedForecaster, TruthSource
from wavesim.well_dataset import open_split

MODELS = ("classical", "compressed", "pruned")  # the order of the keys 1, 2, 3


def find_models(path: str | Path) -> dict[str, Path]:
    """The forecasters (name -> file) of `path`, a run's folder, a folder of models, or one model's file.

    Raises:
        WavesimError: no such folder or file, no model in it, or a model that is pickled or exported.
    """
    path = Path(path)
    refuse_other_models(path)
    if path.suffix == ".safetensors" and not path.is_dir():
        return {named(path): model_file(path)}
    if not path.is_dir():
        raise WavesimError(f"{path} is not a folder; give a run's folder or one of models, such as data/models/demo")
    folder = path / "models" if (path / "models").is_dir() else path
    files = {named(file): file for file in models_in(folder)}
    if not files and (folder / "config.toml").is_file():
        raise WavesimError(f"{folder} holds a training that is not whole; call `wavesim train` as before to go on")
    if not files:
        raise WavesimError(f"{folder} holds no .safetensors file; train a forecaster with `wavesim train`")
    first = [name for name in MODELS if name in files]
    return {name: files[name] for name in (*first, *(name for name in files if name not in first))}


def named(model: Path) -> str:
    """What a model's file is called: as its run's folder is, where it has the name that all runs give theirs."""
    return model.resolve().parent.name if model.stem == "model" else model.stem


def find_run(path: str | Path) -> tuple[dict[str, Path], Path]:
    """The forecasters (name -> file) and the dataset that belong to `path`, as for `find_models`.

    Raises:
        WavesimError: as `find_models`, or no dataset near it.
    """
    path, models = Path(path), find_models(path)
    folder = path if path.is_dir() else path.parent
    places = [
        folder / "waves",
        *trained_on(folder),
        folder.parent / "waves",
        folder.parent.parent / "sample",
        Path("data/sample"),
    ]
    for place in places:
        if (place / "data").is_dir():
            return models, place
    raise WavesimError(f"no dataset for {path}: looked for {', '.join(str(place) for place in places)}")


def open_run(path: str | Path, live: bool | None = None) -> Session:
    """A session on a run's folder (RUN/models, RUN/waves), or on models with a dataset near them.

    Args:
        live: whether the FE solver runs beside; by default where it can start, else the record is played.
    Raises:
        WavesimError: as `find_run`, a dataset without any split, or a forecaster made for another frame interval.
    """
    files, root = find_run(path)
    split = next((name for name in reversed(SPLITS) if any((root / "data" / name).glob("*.hdf5"))), None)
    if split is None:
        raise WavesimError(f"{root} holds no trajectories; make some with `wavesim generate waves`")
    data = open_split(root, split)
    models = {name: SavedForecaster(file, data) for name, file in files.items()}
    source: TruthSource = RecordedTruth(data) if live is False else LiveTruth(data)
    log = [f"{name} {model.log}" for name, model in models.items()]
    bands = {name: model.band for name, model in models.items() if model.band}
    return Session(source, models, fallback=RecordedTruth(data) if live is None else None, log=log, bands=bands)
