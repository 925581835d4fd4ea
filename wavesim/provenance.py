"""Where an artefact comes from: seeds, versions, revision, hashes, and how a file becomes whole at once.

Trajectory k of a run is a function of (seed, k) alone: `generator(seed, "waves", k)` draws from
numpy.random.SeedSequence with the stage's name and the index as its spawn key, so that item k can be made alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.errors import WavesimError

LEAST_FREE = 2**16  # bytes; with less than this left, a writer that failed without a reason has filled the disk


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
    """The git revision of the source tree; None outside a checkout.

    With '+' where what is tracked has changed since, but for benchmarks/results: a study writes its lines there while
    it runs.
    """
    here = Path(__file__).resolve().parents[1]

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10)

    try:
        found = git("rev-parse", "--short=12", "HEAD")
        changed = git("diff", "--quiet", "HEAD", "--", ".", ":(exclude)benchmarks/results")
    except (OSError, subprocess.SubprocessError):
        return None
    return None if found.returncode else found.stdout.strip() + "+" * bool(changed.returncode)


def machine() -> str:
    """The processor's own name and the number of its cores that a process may use."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{next(iter(names), platform.processor() or platform.machine())}, {cores} core{'s' * (cores > 1)}"


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
    path, folder = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, not a hidden file: what a kill leaves behind must not match a reader's `*.hdf5`, as dot files do.
        folder = tempfile.mkdtemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent)
        part = Path(folder) / path.name
        yield part
        with open(part, "r+b") as file:  # Windows syncs no file that is open for reading alone
            os.fsync(file.fileno())
        os.replace(part, path)
    except WavesimError:
        raise
    except Exception as error:
        if _disk_is_full(error, path.parent):
            raise WavesimError(f"the disk is full: {path} was not written; free some space and run it again") from error
        raise
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _disk_is_full(error: Exception, folder: Path) -> bool:
    """Whether a writer failed in `folder` for want of space, asked while what it has written is still there.

    HDF5 and safetensors put the errno into the text of an exception of their own, RuntimeError and SafetensorError.
    PyTorch and ffmpeg do not say why they stopped ("unexpected pos", "Broken pipe"): there the disk itself is asked.
    """
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        return True
    if not folder.is_dir():
        return False
    disk = shutil.disk_usage(folder)
    return disk.total > 0 and disk.free < LEAST_FREE  # some file systems state no sizes at all


def discard_parts(folder: str | Path) -> None:
    """Remove what killed processes left of their `whole_file`s in `folder` and below; nobody may be writing there."""
    for part in list(Path(folder).rglob(".*.part")):
        if part.is_dir():
            shutil.rmtree(part)


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; none where there is no file. A last line that a kill cut short is left out.

    Raises:
        WavesimError: a line in front of others that is not JSON.
    """
    path = Path(path)
    texts = path.read_text(errors="replace").splitlines() if path.exists() else []
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError as error:
            if number < len(texts):
                raise WavesimError(f"{path}: line {number} is not JSON ({error}); remove that line") from error
    return lines


def log_lines(path: str | Path, entries: Iterable[Mapping[str, Any]], **owner: Any) -> None:
    """Let `entries` be all the lines of `owner`, such as file="a": who is done again after a kill is logged once.

    The file is written anew, whole or not at all.
    """
    before = read_lines(path)
    others = [line for line in before if any(line.get(key) != value for key, value in owner.items())]
    after = others + [{**owner, **entry} for entry in entries]
    if after != before:
        write_lines(path, after)


def write_lines(path: str | Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of JSON lines, whole or not at all."""
    with whole_file(path) as part:
        part.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
