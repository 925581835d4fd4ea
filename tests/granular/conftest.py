"""LAMMPS and dolfinx must never share a process: whatever loads the engine runs in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Callable[..., Any]]:
    """`elsewhere(function, *arguments)` calls it in another process and gives what it returns or raises."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
