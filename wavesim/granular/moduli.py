"""Elastic moduli of a packing at mechanical equilibrium, from the Hessian, and K by a small strain too.

With the strain epsilon scaling all lengths by 1 + epsilon, and u the particles' answer to it,
    K = phi dp/dphi = ( E_ee - E_eu E_uu^+ E_ue ) / (D^2 V) + (D - 1) p / D
    E_uu = sum over contacts of S = k_n n n^T - (k_n delta / r) (1 - n n^T), the second part being the prestress.
Rattlers are left out, and one particle is held to take the translations away. It is the second derivative of E along
the relaxed path. The pressure being a sum over contacts, so is its derivative: the parts of LL, LS and SS make up K.

Forces balance at saddle points of E too, where K by this formula is no modulus of anything. With E_uu = L diag(d) L^T,
pivoted symmetrically, E_uu has as many negative eigenvalues as there are d < 0 (Sylvester), and L^-T e_k is a direction
in which its curvature is d_k.

Shear: x -> exp(gamma M / 2) x at constant volume, M = diag(1, -1) or its turn by 45 degrees, gives
    G = d^2 E / dgamma^2 / V, averaged over directions.

Units: k_n / d^(D-2). Reference: Maloney and Lemaitre, Phys. Rev. E 74 (2006) 016118.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import splu, spsolve

from wavesim.errors import WavesimError
from wavesim.granular.packing import KINDS, SPRING_CONSTANT, Contacts, Packing, force_scale, packing_fraction

# Pivots on the diagonal, whose signs can be read; and the factors of 4000 spheres take half the memory (136 MB) and the
# time (6 s) of the default.
SYMMETRIC = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}

if TYPE_CHECKING:
    from wavesim.granular._lammps import Engine, EngineState


# Steps of K by strain: the difference in pressure over the pressure, the next where the slopes of both sides differ by
# more than SAME_SLOPE; the largest net force over that of the pressure on the smallest particle, and what getting there
# may change of the pressure.
STRAINS, SAME_SLOPE, BALANCED, SAME_PRESSURE = (1e-4, 1e-5), 0.01, 1e-8, 0.01


class GivesWayError(WavesimError):
    """A packing that is no longer the same after a stricter relaxation, or after the smallest of steps."""


class ByStrain(NamedTuple):
    """K in k_n / d^(D-2), which of STRAINS it is over, and the state that was strained, relaxed further before."""

    modulus: float
    strain: float
    state: EngineState


class SaddleError(WavesimError):
    """Forces balance, but the energy falls along `direction` (N, D), by which no particle moves further than 1."""

    def __init__(self, packing: Packing, directions: int, direction: np.ndarray):
        super().__init__(
            f"a saddle point at phi {packing.phi:.5f}: the energy falls in {directions} "
            f"direction{'s' if directions > 1 else ''}, so that it has no elastic moduli; displace and relax it again"
        )
        self.directions, self.direction = directions, direction


def bulk_modulus(packing: Packing) -> float:
    """K from the Hessian of the load-bearing network; the packing must be in equilibrium.

    Raises:
        SaddleError: of an equilibrium that is not stable.
        WavesimError: no network carries load, or it has a floppy mode.
    """
    network, dim = _Network.of(packing), packing.dim
    length = network.length
    coupling = (
        network.relative.T @ (SPRING_CONSTANT * (length - network.contacts.overlap)[:, None] * network.normal).ravel()
    )
    answer = network.factor.solve(coupling[dim:])
    affine = SPRING_CONSTANT * float(np.sum(length**2))
    relaxed = affine - float(coupling[dim:] @ answer)
    return relaxed / (dim**2 * packing.volume) + (dim - 1) / dim * packing.pressure


def partial_bulk_moduli(packing: Packing) -> dict[str, float]:
    """The parts LL, LS and SS of K, by the contacts whose share in the pressure grows; they sum to `bulk_modulus`.

    Raises:
        WavesimError: as `bulk_modulus`.
    """
    network, dim = _Network.of(packing), packing.dim
    contacts, length = network.contacts, network.length
    stretch = np.einsum("ci,ci->c", network.normal, network.relaxed_rate(np.eye(dim)))
    pressure = SPRING_CONSTANT * contacts.overlap * length / (dim * packing.volume)
    rate = SPRING_CONSTANT * (contacts.overlap - length) * stretch / (dim * packing.volume) - dim * pressure
    return {str(kind): float(-rate[contacts.kind == kind].sum() / dim) + 0.0 for kind in KINDS[::-1]}  # never -0.0


def shear_modulus(packing: Packing) -> float:
    """G from the Hessian, averaged over all directions of shear; the packing must be in equilibrium.

    It may be a little negative in small packings: a box of fixed shape holds states that shear would unjam
    (Dagois-Bohy et al., Phys. Rev. Lett. 109 (2012) 095703).

    Raises:
        WavesimError: as `bulk_modulus`.
    """
    network, dim = _Network.of(packing), packing.dim
    load = SPRING_CONSTANT * network.contacts.overlap[:, None] * network.normal
    straight: list[float] = []
    turned: list[float] = []
    for a, b in itertools.combinations(range(dim), 2):
        for found, entries in ((straight, ((a, a, 1), (b, b, -1))), (turned, ((a, b, 1), (b, a, 1)))):
            strain = np.zeros((dim, dim))
            for row, column, value in entries:
                strain[row, column] = value
            affine = network.contacts.vectors @ strain
            rate = network.relaxed_rate(strain)
            curvature = np.einsum("ci,cij,cj->", affine, network.stiffness, rate) - np.sum(load * (affine @ strain))
            found.append(curvature / (4 * packing.volume))
    # Straight strains span D - 1 dimensions of all traceless ones, turned ones D (D - 1) / 2.
    weights = (dim - 1, dim * (dim - 1) / 2)
    return float(np.average([np.mean(straight), np.mean(turned)], weights=weights))


def wave_speeds(packing: Packing) -> tuple[float, float]:
    """Speeds of long P- and S-waves, from K, G and the density rho of the particles that carry, their own being 1.

    c_P = sqrt((K + 2 (D - 1) G / D) / rho), c_S = sqrt(G / rho), in sqrt(k_n / d^(D-2)) over the root of that density.
    Rattlers stay where they are while the cage around them moves by less than their room in it.

    Raises:
        WavesimError: as `bulk_modulus`.
    """
    bulk, shear, density = bulk_modulus(packing), shear_modulus(packing), carrying_fraction(packing)
    longitudinal = bulk + 2 * (packing.dim - 1) / packing.dim * shear
    return float(np.sqrt(longitudinal / density)), float(np.sqrt(max(shear, 0.0) / density))


def acoustic_tensor(packing: Packing, direction: np.ndarray) -> np.ndarray:
    """(D, D) rho c^2 of long plane waves that go along a unit vector (D,), the displacements being its eigenvectors.

    A_ab = d^2 E / de_a de_b / V for x -> x + e (direction . x). Averaged over all directions it is K + 2 (D - 1) G / D
    along them and G across; a finite packing has a value of its own in each.

    Raises:
        WavesimError: as `bulk_modulus`.
    """
    network, dim = _Network.of(packing), packing.dim
    affine = (network.contacts.vectors @ direction)[:, None, None] * np.eye(dim)
    forces = np.einsum("cij,caj->cia", network.stiffness, affine).reshape(-1, dim)
    coupling = network.relative.T @ forces
    answer = np.stack([network.answer(one) for one in coupling.T], axis=1)
    return (np.einsum("cai,cib->ab", affine, forces.reshape(-1, dim, dim)) - coupling.T @ answer) / packing.volume


def carrying_fraction(packing: Packing) -> float:
    """Packing fraction of the particles that carry load, rattlers left out."""
    return packing_fraction(packing.radii[~packing.rattlers], packing.box)


def bulk_modulus_by_strain(engine: Engine, radii: np.ndarray, modulus: float = 0.3) -> ByStrain:
    """K from the pressures after a small compression and as small an expansion; the engine is put back afterwards.

    Where particles rearrange within a step, one side has another slope: then the step is made smaller, down to the
    least of STRAINS.

    Args:
        engine: in equilibrium, which is made better here.
        radii: (N,).
        modulus: some K, for the size of the steps alone: 0.3 is that of equal spheres near jamming.
    Raises:
        GivesWayError: relaxed further, or in the smallest of steps.
    """
    before = engine.state().pressure
    load = force_scale(before, radii, engine.dim)
    engine.relax(BALANCED * load, 200_000)
    start = engine.state()
    if abs(start.pressure - before) > SAME_PRESSURE * before:
        raise GivesWayError(
            f"relaxed further, its pressure goes from {before:.3g} to {start.pressure:.3g}: it gives way"
        )
    phi, found, slopes = packing_fraction(radii, start.box), None, [0.0, 0.0]
    for strain in STRAINS:
        for side, sign in enumerate((-1, 1)):
            engine.restore(start)
            engine.scale((1 + sign * strain * start.pressure / modulus) ** (-1 / engine.dim))
            engine.relax(BALANCED * load, 200_000)
            state = engine.state()
            slopes[side] = phi * (state.pressure - start.pressure) / (packing_fraction(radii, state.box) - phi)
        mean = sum(slopes) / 2
        if abs(slopes[1] - slopes[0]) <= SAME_SLOPE * abs(mean):
            found = ByStrain(mean, strain, start)
            break
    engine.restore(start)
    if found is None:
        raise GivesWayError(
            f"over {strain:g} of its pressure K is {slopes[0]:.3g} down and {slopes[1]:.3g} up: it gives way"
        )
    return found


@dataclass(frozen=True)
class _Network:
    """The load-bearing contacts of a packing and its factorised Hessian.

    contacts: C of them; length: (C,); normal: (C, D); relative: (C D, n D), displacements of the n particles to the
    relative ones of the contacts; stiffness: (C, D, D), S of each; factor: of E_uu without the first particle.
    """

    contacts: Contacts
    length: np.ndarray
    normal: np.ndarray
    relative: Any
    stiffness: np.ndarray
    factor: Any

    @classmethod
    def of(cls, packing: Packing) -> _Network:
        contacts, dim = packing.backbone, packing.dim
        if not len(contacts):
            raise WavesimError(f"no contact of the packing at phi {packing.phi:.5f} carries load: compress it first")
        length = np.linalg.norm(contacts.vectors, axis=1)
        normal = contacts.vectors / length[:, None]
        particles, ends = np.unique(contacts.pairs, return_inverse=True)
        ends = ends.reshape(-1, 2)

        # Incidence times normal: the relative motion of each contact along each axis.
        rows = np.arange(len(contacts))
        signs = sparse.csr_array(
            (np.tile([-1.0, 1.0], len(contacts)), (np.repeat(rows, 2), ends.ravel())), (len(contacts), len(particles))
        )
        relative = sparse.kron(signs, sparse.identity(dim), format="csr")
        prestress = SPRING_CONSTANT * contacts.overlap / length
        projector = np.einsum("ci,cj->cij", normal, normal)
        stiffness = SPRING_CONSTANT * projector - prestress[:, None, None] * (np.eye(dim) - projector)
        blocks = sparse.bsr_array((stiffness, rows, np.arange(len(contacts) + 1)))
        hessian = (relative.T @ blocks @ relative).tocsc()
        floppy = WavesimError(f"the network of {len(particles)} particles has a floppy mode: no elastic moduli")
        try:
            factor = splu(hessian[dim:, dim:], **SYMMETRIC)
        except RuntimeError as error:
            raise floppy from error
        if not np.array_equal(factor.perm_r, factor.perm_c):  # a pivot that is exactly zero was gone around
            raise floppy
        pivots = factor.U.diagonal()
        if (pivots < 0).any():
            moved = np.zeros((len(packing.radii), dim))
            moved[particles[1:]] = _along(factor, int(pivots.argmin())).reshape(-1, dim)
            furthest = np.linalg.norm(moved, axis=1).max()
            raise SaddleError(packing, int((pivots < 0).sum()), moved / furthest)
        return cls(contacts, length, normal, relative, stiffness, factor)

    def answer(self, coupling: np.ndarray) -> np.ndarray:
        """(n D,) E_uu^+ times `coupling` (n D,), the first particle being held."""
        held = self.normal.shape[1]
        return np.concatenate([np.zeros(held), self.factor.solve(coupling[held:])])

    def relaxed_rate(self, strain: np.ndarray) -> np.ndarray:
        """(C, D) how the contact vectors change with the strain (D, D), symmetric, the particles following."""
        affine = self.contacts.vectors @ strain
        coupling = self.relative.T @ np.einsum("cij,cj->ci", self.stiffness, affine).ravel()
        return affine - (self.relative @ self.answer(coupling)).reshape(affine.shape)


def _along(factor: Any, pivot: int) -> np.ndarray:
    """L^-T e_k in the order of the matrix; with U = diag(d) L^T it is proportional to U^-1 e_k."""
    chosen = np.zeros(factor.shape[0])
    chosen[pivot] = 1.0
    found: np.ndarray = spsolve(factor.U, chosen, permc_spec="NATURAL")[factor.perm_c]
    return found
