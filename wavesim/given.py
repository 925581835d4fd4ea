"""What a path that a user gives stands for: a forecaster's file, the folder of its training, a dataset's folder.

What is pickled is told by its name or its first bytes, and never read, which would run its code.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from wavesim.errors import WavesimError

MODEL = "model.safetensors"  # what the folder of a training calls its own
PICKLED = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")


def model_file(path: str | Path) -> Path:
    """The file of the forecaster that `path` stands for: its own, or that of a training's folder.

    Raises:
        WavesimError: a pickle, an exported graph, a folder of anything else, or nothing there.
    """
    path = Path(path)
    refuse_other_models(path)
    if path.is_dir():
        if not (path / MODEL).is_file():
            inside = ", ".join(sorted(each.name for each in path.glob("*.safetensors"))[:5])
            instead = f"one of its models: {inside}" if inside else "a .safetensors file, or the folder of a training"
            raise WavesimError(f"{path} holds no {MODEL}; give {instead}")
        return path / MODEL
    if not path.is_file():
        raise WavesimError(f"{path} does not exist; `wavesim train` makes models, and data/models/ holds some")
    return path


def refuse_other_models(path: Path) -> None:
    """Raises WavesimError where `path` is a model in a form that is not read: pickled, or exported."""
    refuse_pickle(path, "a .safetensors file")
    if path.suffix == ".onnx":
        raise WavesimError(f"{path} is an exported graph; give the .safetensors file that it was exported from")


def require_dataset_folder(root: Path) -> None:
    """Raises WavesimError where `root` is no folder at all."""
    refuse_pickle(root, "a dataset's folder")
    if root.is_file():
        raise WavesimError(f"{root} is a file; a dataset is the folder that holds data/ with such files in it")
    if not root.is_dir():
        raise WavesimError(f"{root} does not exist; make it with `wavesim generate waves`")


def refuse_pickle(path: Path, instead: str) -> None:
    """Raises WavesimError where `path` is pickled, or would be by its name; `instead`: what to give."""
    if not path.is_dir() and (path.suffix in PICKLED or _begins_as_one(path)):
        raise WavesimError(f"{path} is a pickle, which runs code when it is read: give {instead}")


def _begins_as_one(path: Path) -> bool:
    """As Python's pickles do, or as a zip file with one in it, which PyTorch writes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] == b"PK\x03\x04" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as names:
            return any(name.endswith(".pkl") for name in names.namelist())
    return start[:1] == b"\x80" and start[8:] != b"{"  # the ninth byte of a safetensors file begins its header, JSON
