"""A packing of frictionless linear-spring disks (or spheres), and what is measured on it, without any engine.

Two particles at distance r with radii a_i, a_j overlap by delta = a_i + a_j - r > 0 and store the energy
k_n delta^2 / 2. With n the unit vector from i to j and V the periodic box's area (volume),
    energy E = sum k_n delta^2 / 2        stress = (1/V) sum k_n delta r n n^T (compression positive)
    pressure p = trace(stress) / D        packing fraction phi = sum of the particles' own areas / V
A rattler is a particle with fewer than D + 1 contacts, found again and again until none is left: it can carry no load.

Units: the large diameter is 1, k_n = 1. Reference: O'Hern, Silbert, Liu, Nagel, Phys. Rev. E 68 (2003) 011306.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from wavesim.errors import WavesimError

SPRING_CONSTANT = 1.0
SMALL, LARGE = 0, 1
KINDS = np.array(["SS", "LS", "LL"])  # by the number of large particles in the contact
SHORTEST_BOX = 2.0  # in large diameters: below it a particle could touch two images of another
EQUILIBRIUM = 1e-4  # largest net force over p d_S^(D-1) of a packing in mechanical equilibrium


@dataclass(frozen=True)
class Contacts:
    """Overlapping pairs, sorted. pairs: (C, 2), i < j; overlap: (C,); kind: (C,) LL, LS, SS; vectors: (C, D) i to j."""

    pairs: np.ndarray
    overlap: np.ndarray
    kind: np.ndarray
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    def among(self, particles: np.ndarray) -> Contacts:
        """The contacts both of whose particles are in the mask `particles` (N,)."""
        kept = particles[self.pairs].all(axis=1)
        return Contacts(self.pairs[kept], self.overlap[kept], self.kind[kept], self.vectors[kept])


@dataclass(frozen=True)
class Packing:
    """Particles in a periodic box with its origin at 0.

    positions: (N, D), x first; radii: (N,); species: (N,), 0 small, 1 large; box: (D,) side lengths. The rest is what
    the protocol found out: phi_j, the packing fraction at which the pressure vanishes; bulk_modulus in units of
    k_n / d^(D-2), None where it was not measured; path_phi, path_pressure: the states passed on the way down.

    Raises:
        WavesimError: shapes that do not fit, or a box too short for one periodic image of each neighbour.
    """

    positions: np.ndarray
    radii: np.ndarray
    species: np.ndarray
    box: np.ndarray
    phi_j: float = math.nan
    bulk_modulus: float | None = None
    path_phi: np.ndarray = field(default_factory=lambda: np.empty(0))
    path_pressure: np.ndarray = field(default_factory=lambda: np.empty(0))
    protocol: str = ""
    seed: int = 0
    engine: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        shapes = self.positions.shape, self.radii.shape, self.species.shape, self.box.shape
        count, dim = shapes[0] if len(shapes[0]) == 2 else (0, 0)
        if dim not in (2, 3) or shapes[1:] != ((count,), (count,), (dim,)):
            raise WavesimError(
                "positions, radii, species, box have shapes {}, {}, {}, {}; expected (N, D), (N), (N), (D) "
                "with D = 2 or 3".format(*shapes)
            )
        shortest = SHORTEST_BOX * 2 * self.radii.max()
        if self.box.min() < shortest:
            raise WavesimError(
                f"the box's shortest side {self.box.min():.3g} is under two large diameters ({shortest:.3g}), "
                "so that a particle could touch two images of another: use more particles"
            )

    @property
    def dim(self) -> int:
        """2 for disks, 3 for spheres."""
        return self.positions.shape[1]

    @property
    def size_ratio(self) -> float:
        """Small diameter over large diameter, which is 1 also where all are small."""
        alone = (self.species == SMALL).all()
        return float(2 * self.radii.min() if alone else self.radii.min() / self.radii.max())

    @property
    def small_fraction(self) -> float:
        """Area (volume) concentration of the small species among the particles."""
        areas = self.radii**self.dim
        return float(areas[self.species == SMALL].sum() / areas.sum())

    @property
    def volume(self) -> float:
        """Area (volume) of the box."""
        return float(np.prod(self.box))

    @property
    def phi(self) -> float:
        """Packing fraction; overlaps count twice."""
        return packing_fraction(self.radii, self.box)

    @cached_property
    def contacts(self) -> Contacts:
        """All overlapping pairs, each through its nearest periodic image."""
        wrapped = np.mod(self.positions, self.box)
        wrapped[wrapped >= self.box] = 0.0  # the remainder of a tiny negative number rounds to the box itself
        pairs = cKDTree(wrapped, boxsize=self.box).query_pairs(2 * self.radii.max(), output_type="ndarray")
        vectors = wrapped[pairs[:, 1]] - wrapped[pairs[:, 0]]
        vectors -= self.box * np.rint(vectors / self.box)
        overlap = self.radii[pairs].sum(axis=1) - np.linalg.norm(vectors, axis=1)
        touching = np.flatnonzero(overlap > 0)
        touching = touching[np.lexsort(pairs[touching].T[::-1])]
        pairs = pairs[touching]
        return Contacts(pairs, overlap[touching], KINDS[self.species[pairs].sum(axis=1)], vectors[touching])

    @cached_property
    def rattlers(self) -> np.ndarray:
        """(N,) mask of the particles outside the load-bearing network."""
        carrying: np.ndarray = np.ones(len(self.radii), bool)
        while True:
            pairs = self.contacts.among(carrying).pairs
            degree = np.bincount(pairs.ravel(), minlength=len(carrying))
            kept = carrying & (degree > self.dim)
            if (kept == carrying).all():
                return ~carrying
            carrying = kept

    @cached_property
    def backbone(self) -> Contacts:
        """The contacts of the load-bearing network."""
        return self.contacts.among(~self.rattlers)

    def carrying(self, species: int) -> float:
        """Share of the particles of a species that are no rattlers; 0 where there is none."""
        own = self.species == species
        return float((own & ~self.rattlers).sum() / max(own.sum(), 1))

    @property
    def coordination_by_kind(self) -> dict[str, float]:
        """Mean numbers of contacts of particles that carry, with others that do: LS is a large one's with small ones.

        SL is a small one's with large ones. Kinds of a species that carries nothing are absent.
        """
        pairs, found = self.backbone.pairs, {}
        for mine, name in ((LARGE, "L"), (SMALL, "S")):
            count = int(((self.species == mine) & ~self.rattlers).sum())
            for other, its in ((LARGE, "L"), (SMALL, "S")):
                ends = sum(int(((self.species[a] == mine) & (self.species[b] == other)).sum())
                           for a, b in (pairs.T, pairs.T[::-1]))  # fmt: skip
                if count:
                    found[name + its] = ends / count
        return found

    @property
    def coordination(self) -> float:
        """Mean number of contacts of a particle that is no rattler, with its like; 0 where all are rattlers."""
        carrying = int((~self.rattlers).sum())
        return 2 * len(self.backbone) / carrying if carrying else 0.0

    @property
    def coordination_all(self) -> float:
        """Mean number of contacts of all particles, rattlers included."""
        return 2 * len(self.contacts) / len(self.radii)

    @property
    def rattler_fraction(self) -> float:
        """Share of rattlers among all particles."""
        return float(self.rattlers.mean())

    @property
    def energy(self) -> float:
        """Elastic energy, in units of k_n d^2."""
        return float(0.5 * SPRING_CONSTANT * np.sum(self.contacts.overlap**2))

    @cached_property
    def stress(self) -> np.ndarray:
        """(D, D) Cauchy stress, compression positive, in units of k_n / d^(D-2)."""
        c = self.contacts
        lengths = np.linalg.norm(c.vectors, axis=1)
        return np.einsum("c,ci,cj->ij", SPRING_CONSTANT * c.overlap / lengths, c.vectors, c.vectors) / self.volume

    @property
    def partial_pressures(self) -> dict[str, float]:
        """The parts of the pressure that LL, LS and SS contacts carry; they sum to it."""
        c = self.contacts
        parts = SPRING_CONSTANT * c.overlap * np.linalg.norm(c.vectors, axis=1) / (self.dim * self.volume)
        return {str(kind): float(parts[c.kind == kind].sum()) for kind in KINDS[::-1]}

    @property
    def pressure(self) -> float:
        """Mean normal stress, compression positive, in units of k_n / d^(D-2)."""
        return float(np.trace(self.stress) / self.dim)

    @cached_property
    def forces(self) -> np.ndarray:
        """(N, D) net force on each particle, in units of k_n d."""
        c = self.contacts
        push = (SPRING_CONSTANT * c.overlap / np.linalg.norm(c.vectors, axis=1))[:, None] * c.vectors
        net = np.zeros_like(self.positions)
        np.add.at(net, c.pairs[:, 0], -push)
        np.add.at(net, c.pairs[:, 1], push)
        return net

    @property
    def unbalanced_force(self) -> float:
        """Largest net force on a particle over p d_S^(D-1), the load of the smallest one; infinite at no pressure."""
        largest = float(np.linalg.norm(self.forces, axis=1).max())
        return largest / force_scale(self.pressure, self.radii, self.dim) if self.pressure > 0 else math.inf

    @property
    def balanced(self) -> bool:
        """Whether it is in mechanical equilibrium under load."""
        return self.unbalanced_force <= EQUILIBRIUM

    @property
    def converged(self) -> bool:
        """Whether its moduli are those of a mechanical equilibrium, and measured."""
        return self.balanced and self.bulk_modulus is not None


def ball_volume(dim: int) -> float:
    """Area (volume) of the ball of radius 1."""
    return math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)


def packing_fraction(radii: np.ndarray, box: np.ndarray) -> float:
    """The particles' own areas (volumes) over the box's, overlaps counted twice. radii: (N,); box: (D,)."""
    return float(ball_volume(len(box)) * np.sum(radii ** len(box)) / np.prod(box))


def force_scale(pressure: float, radii: np.ndarray, dim: int) -> float:
    """p d_S^(D-1), the load of `pressure` on the smallest particle: every force tolerance is relative to it."""
    return pressure * float(2 * radii.min()) ** (dim - 1)
