"""Where an artefact comes from: seeds, versions, revision, hashes, and how a file becomes whole at once.

Trajectory k of a run is a function of (seed, k) alone: `generator(seed, "waves", k)` draws from
numpy.random.SeedSequence with the stage's name and the index as its spawn key, so that item k can be made alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.errors import WavesimError


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """A random generator that depends on (seed, key) alone, the same on every machine."""
    spawn_key = tuple(zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in key)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of wavesim, numpy and `packages`; those not installed are left out."""
    found = {}
    for package in ("wavesim", "numpy", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def revision() -> str | None:
    """The git revision of the source tree, with '+' where it has uncommitted changes; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        git = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settings_hash(settings: Any) -> str:
    """Twelve characters that change when any setting does; `settings` is anything that JSON can hold."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write to a hidden folder beside `path`; it moves to its place only when it is whole, nothing is left otherwise.

    Raises:
        WavesimError: the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, not a hidden file: what a kill leaves behind must not match a reader's `*.hdf5`, as dot files do.
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", suffix=".part", dir=path.parent) as folder:
            part = Path(folder) / path.name
            yield part
            with open(part, "rb") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
    except (OSError, RuntimeError) as error:
        # HDF5 reports a full disk as an OSError or, on closing a file, a RuntimeError whose text names the errno.
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            raise WavesimError(f"the disk is full: {path} was not written; free some space and run it again") from error
        raise


def discard_parts(folder: str | Path) -> None:
    """Remove what killed processes left of their `whole_file`s in `folder` and below; nobody may be writing there."""
    for part in Path(folder).rglob(".*.part"):
        shutil.rmtree(part)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
