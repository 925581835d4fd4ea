"""A forecaster as one safetensors file: weights, and in the header the settings that rebuild its exact shape.

Tensors that are smaller without their zeros are stored so (sparse_weights.py); the fingerprint is of the dense ones.

Nothing is pickled, so that loading a file runs no code. A pruned forecaster is a forecaster with smaller numbers in
its settings: it is saved and loaded in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialized

from wavesim.config import ForecasterConfig, TrainingConfig, parse
from wavesim.errors import WavesimError
from wavesim.given import model_file
from wavesim.provenance import revision, versions, whole_file
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.sparse_weights import packed, unpacked


def save(model: Forecaster, path: str | Path, about: Mapping[str, Any] | None = None) -> Path:
    """Write a forecaster, whole or not at all; `about` (anything JSON can hold) says where it comes from.

    The same forecaster, `about`, versions and revision give the same bytes.
    """
    header = {
        "format": "wavesim forecaster 1",
        "config": model.config.model_dump_json(),
        "courant": repr(model.courant),
        "about": json.dumps({"versions": versions("torch"), "revision": revision(), **(about or {})}, sort_keys=True),
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in named_weights(model).items()}
    header["fingerprint"] = fingerprint_of(model)
    with whole_file(path) as part:
        part.write_bytes(in_order(serialized(packed(weights), header)))
    return Path(path)


def stored_bytes(model: Forecaster) -> int:
    """Bytes that the weights take in a file, with its table of names and shapes; the settings are not counted."""
    return len(serialized(packed(named_weights(model))))


def named_weights(model: Forecaster) -> dict[str, torch.Tensor]:
    """The tensors of a file, dense: those of the network or the learned step, by its own names."""
    return model.learned.state_dict()


def fingerprint(header: Mapping[str, str], weights: Mapping[str, torch.Tensor]) -> str:
    """Twelve characters that change with the settings, the Courant number or a weight of a file."""
    digest = hashlib.sha256()
    for name in ("config", "courant"):
        digest.update(header[name].encode())
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:12]


def fingerprint_of(model: Forecaster) -> str:
    """The fingerprint of a forecaster as this version would write it."""
    header = {"config": model.config.model_dump_json(), "courant": repr(model.courant)}
    return fingerprint(header, {name: tensor.detach().cpu() for name, tensor in named_weights(model).items()})


def in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library writes them in an order that changes from run to run.

    The first 8 bytes are the header's length, a multiple of 8; then comes the header, JSON, and then the weights.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def read_header(path: str | Path) -> dict[str, Any]:
    """The header of a forecaster's file, or of that in the folder of its training: config, courant, about.

    Raises:
        WavesimError: no such file, a pickle, not a safetensors file, or not one of a forecaster.
    """
    path = model_file(path)
    header = _metadata(path)
    return {
        "config": parse(json.loads(header["config"]), ForecasterConfig, str(path)),
        "courant": float(header["courant"]),
        "about": json.loads(header["about"]),
    }


def models_in(folder: Path) -> list[Path]:
    """The .safetensors files of a folder, in order: forecasters, and what is none or broken, but no regressors of
    `wavesim learn-pruning`, which may lie beside the models that they learned from."""
    return [path for path in sorted(folder.glob("*.safetensors")) if not _is_regressor(path)]


def _is_regressor(path: Path) -> bool:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format", "").startswith("wavesim regressor")
    except (OSError, safetensors.SafetensorError):
        return False


def trained_by(path: str | Path) -> TrainingConfig | None:
    """The settings of the training that a forecaster's file comes from; None where it does not say.

    Raises:
        WavesimError: as `read_header`.
    """
    told = read_header(path)["about"].get("training")
    return None if told is None else parse(told, TrainingConfig, str(path))


def _metadata(path: Path) -> dict[str, str]:
    """The texts that a forecaster's file begins with."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise WavesimError(f"{path} is not a whole safetensors file ({error}); copy or make it anew") from error
    if header.get("format") != "wavesim forecaster 1":
        raise WavesimError(f"{path} is a safetensors file, but not of a wavesim forecaster")
    return header


def load(path: str | Path) -> Forecaster:
    """Read a forecaster, of its file or of the folder of its training, ready to roll out.

    Raises:
        WavesimError: as `read_header`, or weights of another shape than the settings say, values that do not fit the
            bits that mark them, or settings that were changed after the file was written, be the shapes the same, as
            the fingerprint tells, which has to be there, or a pruned model of an older version.
    """
    path = model_file(path)
    header = read_header(path)
    model = Forecaster(header["config"], header["courant"])
    expected = {name: tuple(tensor.shape) for name, tensor in named_weights(model).items()}
    stored = load_file(path)
    if any(name.endswith(".nonzero") for name in stored):
        raise WavesimError(
            f"{path} was written by an older version of wavesim, with bits for each tensor; prune that model again"
        )
    try:
        weights = unpacked(stored, expected)
    except WavesimError as error:
        raise WavesimError(f"{path}: {error}; the file was changed after it was written") from error
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if got != expected:
        wrong = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
        raise WavesimError(
            f"{path}: {wrong[0]} has shape {got.get(wrong[0], 'of nothing (it is missing)')}, its settings say "
            f"{expected.get(wrong[0], 'that there is none')}; the file was changed after it was written"
        )
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise WavesimError(f"{path} holds weights that are not finite")
    stated = _metadata(path)
    if "fingerprint" not in stated:
        raise WavesimError(
            f"{path} states no fingerprint, by which its settings and weights are known to be those that were written; "
            "take the file as it was, or train it again"
        )
    if fingerprint(stated, weights) != stated["fingerprint"]:
        raise WavesimError(
            f"{path}: its settings or weights were changed after it was written; take the file as it was"
        )
    model.learned.load_state_dict(weights)
    return model.eval()
