"""What every method leaves beside its result, for tables, for controls of equal counts, and to learn from.

OUT.rounds.jsonl     rows, one a round
OUT.lifetimes        safetensors: parameter -> uint8 of its shape, in how many rounds each weight was left; the header
                     tells by which `method` and `restart` and of what: `model` (SHA-256 of its file), `data`
                     (data_hash), `beginning` (beginnings.py), the steps `rewind_to` and the `training` after it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from wavesim.errors import WavesimError
from wavesim.given import refuse_pickle
from wavesim.provenance import file_hash, read_lines, whole_file, write_lines
from wavesim.pruning.beginnings import beginning_of, trained_on
from wavesim.pruning.run import Row, Run
from wavesim.surrogate.checkpoint import in_order

FORMAT = "wavesim lifetimes 2"
TOLD = {"method", "restart", "rewind_to", "model", "beginning", "training", "data"}


def rows_beside(out: Path) -> Path:
    """Where the rows of a result lie."""
    return out.with_suffix(".rounds.jsonl")


def write_rows(out: Path, rows: Sequence[Row]) -> None:
    """Write them whole or not at all."""
    write_lines(rows_beside(out), rows)


def read_rows(out: str | Path) -> list[Row]:
    """The rows of a result at `out`, a .safetensors path.

    Raises:
        WavesimError: there are none, or an older version wrote them.
    """
    path = rows_beside(Path(out))
    if not path.is_file():
        raise WavesimError(f"{path} does not exist; give a model that `wavesim prune` made, with its rows beside it")
    rows = read_lines(path)
    if not rows or not all(isinstance(row, dict) and "counts" in row for row in rows):
        raise WavesimError(f"{path} was written by an older version of wavesim; prune that model again")
    return rows


def result_in(rows: Sequence[Mapping[str, Any]]) -> int:
    """The number of the row whose network is the result: the one that was tested."""
    return max((number for number, row in enumerate(rows) if "test_error" in row), default=len(rows) - 1)


def lifetimes_beside(out: Path) -> Path:
    """Where the lifetimes of a result lie."""
    return out.with_suffix(".lifetimes")  # not .safetensors: a folder's models are its files of that name


def write_lifetimes(out: Path, model: Path, run: Run) -> None:
    """Write in how many rounds each weight of the file `model` was left; nothing where units were cut."""
    if run.lifetimes:
        told, before = run.settings, beginning_of(model)
        header = {
            "format": FORMAT,
            "method": told.method,
            "restart": str(told.restart),
            "rewind_to": str(told.rewind_to),
            "model": file_hash(model),
            "beginning": before.text() if before else "",
            "training": run.job.training.model_dump_json(),
            "data": trained_on(run.job.data),
        }
        with whole_file(lifetimes_beside(out)) as part:
            part.write_bytes(in_order(safetensors.torch.save(run.lifetimes, header)))


def read_lifetimes(out: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The lifetimes beside a result at `out`, a .safetensors path, and their header.

    Raises:
        WavesimError: there are none, they are not whole, or an older version wrote them.
    """
    refuse_pickle(Path(out), "a .safetensors file")
    path = lifetimes_beside(Path(out))
    if not path.is_file():
        raise WavesimError(
            f"{path} does not exist; give a model that a method of single weights pruned, such as lottery-ticket"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            lifetimes = {name: file.get_tensor(name) for name in file.keys()}
    except safetensors.SafetensorError as error:
        raise WavesimError(f"{path} is not a whole file of lifetimes ({error}); prune that model again") from error
    if header.get("format") != FORMAT or not TOLD <= header.keys():
        raise WavesimError(f"{path} was written by another version of wavesim; prune that model again")
    return lifetimes, header
