"""Which unknowns a process needs of a domain that several share, and how their values come and go.

dolfinx numbers all nodes, and each process owns a range of them: its rows of PETSc's vectors and matrices. An unknown
has the number of its first node (boundary.py): the images of a node on a periodic side, and nodes where the pressure is
given, keep rows that stay empty. What a process holds beyond its own is fetched, and what it adds there is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from wavesim.errors import WavesimError, missing_engine
from wavesim.fem import boundary
from wavesim.fem.boundary import Sides, first_nodes, unknowns
from wavesim.fem.space import Part


def petsc() -> Any:
    """The module.

    Raises:
        WavesimError: it is not installed, or built for complex numbers.
    """
    try:
        from petsc4py import PETSc
    except ImportError as error:
        raise missing_engine("petsc4py", "one domain over several processes", "fem", error) from error
    if not np.issubdtype(PETSc.ScalarType, np.floating):
        raise WavesimError(
            "petsc4py is built for complex numbers; use the real one (PETSC_DIR, or conda's petsc=*=real*)"
        )
    return PETSc


@dataclass(frozen=True)
class Held:
    """prolongation: P (nodes that the process knows, unknowns that it holds); numbers: of the rows of these (held,).

    own: (own rows,) which of the held each is, -1 for an empty row. like: one of PETSc's vectors, for traffic.
    """

    prolongation: sparse.csr_matrix
    numbers: np.ndarray
    own: np.ndarray
    like: Any

    @property
    def free(self) -> np.ndarray:
        """(own rows,) whether there is an unknown."""
        return self.own >= 0

    def fetch(self, field: np.ndarray) -> np.ndarray:
        """(held,) values of a field (own rows,)."""
        here, scatter = self._traffic
        self.like.array[:] = field
        scatter.scatter(self.like, here)
        return here.array.copy()

    def add(self, values: np.ndarray) -> np.ndarray:
        """(own rows,) sums of what all processes have at an unknown, of values (held,)."""
        PETSc = petsc()

        here, scatter = self._traffic
        here.array[:] = values
        self.like.set(0.0)
        scatter.scatter(here, self.like, addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        return self.like.array.copy()

    def at_rows(self, values: np.ndarray, empty: float) -> np.ndarray:
        """(own rows,) those of values (held,), and a number in empty rows."""
        return np.where(self.free, values[self.own], empty)

    @cached_property
    def _traffic(self) -> tuple[Any, Any]:
        PETSc = petsc()

        here = PETSc.Vec().createSeq(len(self.numbers))
        numbers = PETSc.IS().createGeneral(self.numbers.astype(PETSc.IntType), comm=here.comm)
        return here, PETSc.Scatter().create(self.like, numbers, here, None)


@dataclass(frozen=True)
class OfFetched:
    """A matrix (n, held), which acts on fields (own rows,)."""

    matrix: sparse.csr_matrix
    held: Held

    def __matmul__(self, field: np.ndarray) -> np.ndarray:
        return self.matrix @ self.held.fetch(field)


@dataclass(frozen=True)
class Summed:
    """A matrix (held, n), whose products are summed over the processes: (own rows,)."""

    matrix: sparse.csr_matrix
    held: Held

    def __matmul__(self, values: np.ndarray) -> np.ndarray:
        return self.held.add(self.matrix @ values)


def held(part: Part, sides: Sides, comm: Any) -> Held:
    """What a process holds; `sides` are those of the whole domain.

    Raises:
        WavesimError: nodes of two periodic sides that do not face each other.
    """
    PETSc = petsc()

    points, owned = part.space.points, part.owned
    low, high = np.min(comm.allgather(points.min(axis=0)), axis=0), np.max(comm.allgather(points.max(axis=0)), axis=0)
    slack = 1e-9 * (high - low).max()
    rim = np.flatnonzero(np.any((points[:owned] < low + slack) | (points[:owned] > high - slack), axis=1))
    # All processes have the rim of the whole domain, each image after its node: left before right, bottom before top.
    places = np.concatenate(comm.allgather(points[rim]))
    numbers = np.concatenate(comm.allgather(part.numbers[rim]))
    order = np.argsort(places.sum(axis=1))
    places, numbers = places[order], numbers[order]
    whole = unknowns(places, sides)
    unknown = boundary.numbers(whole)
    row = np.where(unknown < 0, -1, numbers[first_nodes(whole)][unknown])

    order = np.argsort(numbers)
    place = np.searchsorted(numbers[order], part.numbers).clip(max=len(numbers) - 1)
    on_rim = numbers[order][place] == part.numbers
    mapped = np.where(on_rim, row[order][place], part.numbers)
    known = np.flatnonzero(mapped >= 0)
    rows, column = np.unique(mapped[known], return_inverse=True)
    prolongation = sparse.csr_matrix((np.ones(known.size), (known, column.ravel())), shape=(len(points), rows.size))
    own = np.full(owned, -1)
    here = np.flatnonzero(np.isin(rows, part.numbers[:owned]))
    own[rows[here] - part.numbers[0]] = here
    return Held(prolongation, rows, own, PETSc.Vec().createMPI((owned, None), comm=comm))
