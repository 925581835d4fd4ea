"""Products with B = h^2 M^-1 K of a domain that several processes share: PETSc's matrix, and its largest eigenvalue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from wavesim.fem import march
from wavesim.fem.distributed_nodes import Held, petsc
from wavesim.fem.kernel import Pair, StepByStep
from wavesim.fem.march import Motion
from wavesim.fem.stepper import Operator

# Lanczos: a residual of 1e-3 of the eigenvalue is reached after 20 to 60 products.
LANCZOS_STEPS, LANCZOS_RESIDUAL = 200, 1e-3


@dataclass(frozen=True)
class OnProcesses(StepByStep):
    """Steps of fields (own rows,). matrix: B; work: two of PETSc's vectors, because PETSc keeps what Python drops."""

    matrix: Any
    work: tuple[Any, Any]

    def product(self, field: np.ndarray) -> np.ndarray:
        """B times a field."""
        given, product = self.work
        out = np.empty(len(field))
        given.placeArray(np.ascontiguousarray(field))
        product.placeArray(out)
        self.matrix.mult(given, product)
        given.resetArray()
        product.resetArray()
        return out

    def advance(self, pressure: np.ndarray, increment: np.ndarray, steps: int, order: int) -> Pair:
        """p and d after so many steps."""
        motion = march.advance(self.product, Motion(pressure, increment), steps, order)
        return motion.pressure, motion.increment


@dataclass(frozen=True)
class SharedOperator(Operator):
    """Time steps of stepper.py, of fields (own rows,). stepping: B, PETSc's; work: see above."""

    stepping: Any
    work: Any = None

    @cached_property
    def loops(self) -> Any:
        """The product with B, and whole steps."""
        return OnProcesses(self.stepping, self.work, layer=self.layer)


def summed(own: sparse.csr_matrix, held: Held) -> Any:
    """PETSc's matrix of the sums of what the processes have, each `own` (held, held)."""
    PETSc = petsc()
    comm, rows = held.like.comm, (held.like.local_size, None)
    own = own.tocsr()
    own.eliminate_zeros()
    numbering = PETSc.LGMap().create(held.numbers.astype(PETSc.IntType), comm=comm)
    whole = PETSc.Mat().createIS((rows, rows), lgmapr=numbering, lgmapc=numbering, comm=comm)
    csr = (own.indptr.astype(PETSc.IntType), own.indices.astype(PETSc.IntType), own.data)
    piece = PETSc.Mat().createAIJ(own.shape, csr=csr, comm=PETSc.COMM_SELF)
    whole.setISLocalMat(piece)
    whole.assemble()
    whole.convert("aij")  # in place: sums what the processes have of a row
    piece.destroy()
    numbering.destroy()
    return whole


def largest_eigenvalue(stiffness: Any, mass: Any) -> float:
    """Of M^-1 K, a PETSc matrix and vector, from below: a Ritz value of Lanczos' with a residual of 1e-3 of it."""
    made = [mass.duplicate() for _ in range(5)]
    root, vector, before, product, work = made
    root.array[:] = 1 / np.sqrt(mass.array)
    # No eigenvector is orthogonal to it, and each process has values of its own.
    vector.array[:] = np.random.default_rng(mass.comm.rank).standard_normal(vector.local_size)
    vector.normalize()
    before.set(0.0)
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        work.pointwiseMult(root, vector)
        stiffness.mult(work, product)
        product.pointwiseMult(root, product)
        diagonal.append(product.dot(vector))
        product.axpy(-diagonal[-1], vector)
        if beside:
            product.axpy(-beside[-1], before)
        last = product.norm()
        values, ritz = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        if last * abs(ritz[-1, -1]) <= LANCZOS_RESIDUAL * values[-1] or len(diagonal) == LANCZOS_STEPS:
            break
        beside.append(last)
        before, vector, product = vector, product, before
        vector.scale(1 / last)
    for vector in made:
        vector.destroy()
    return float(values[-1])
