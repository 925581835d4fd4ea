"""Bulk modulus of a packing, K = phi dp/dphi at mechanical equilibrium, in two independent ways.

Hessian: with the strain epsilon scaling all lengths by 1 + epsilon, and u the particles' answer to it,
    K = ( E_ee - E_eu E_uu^+ E_ue ) / (D^2 V) + (D - 1) p / D
E_uu = sum over contacts of k_n n n^T - (k_n delta / r) (1 - n n^T), the second part being the prestress. Rattlers are
left out, and one particle is held to take the translations away. It is the second derivative of E along the relaxed
path; compare Maloney and Lemaitre, Phys. Rev. E 74 (2006) 016118.

Finite difference: relax at phi (1 + s) and phi (1 - s), and divide.

Units: k_n / d^(D-2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from wavesim.errors import WavesimError
from wavesim.granular.packing import SPRING_CONSTANT, Packing, force_scale, packing_fraction

if TYPE_CHECKING:
    from wavesim.granular._lammps import Engine


def bulk_modulus(packing: Packing) -> float:
    """K from the Hessian of the load-bearing network; the packing must be in equilibrium.

    Raises:
        WavesimError: no network carries load, or it has a floppy mode.
    """
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

    coupling = relative.T @ (SPRING_CONSTANT * (length - contacts.overlap)[:, None] * normal).ravel()
    try:
        answer = splu(hessian[dim:, dim:]).solve(coupling[dim:])
    except RuntimeError as error:
        raise WavesimError(f"the network of {len(particles)} particles has a floppy mode: no bulk modulus") from error
    affine = SPRING_CONSTANT * float(np.sum(length**2))
    relaxed = affine - float(coupling[dim:] @ answer)
    return relaxed / (dim**2 * packing.volume) + (dim - 1) / dim * packing.pressure


def bulk_modulus_by_strain(engine: Engine, radii: np.ndarray, strain: float = 1e-3, tolerance: float = 1e-7) -> float:
    """K from the pressures after a compression and an expansion by a small step; the engine is put back afterwards.

    Args:
        engine: in equilibrium.
        radii: (N,).
        strain: half the difference in pressure, over the pressure; small, so that no contact opens or closes.
        tolerance: largest net force over that of the pressure on the smallest particle.
    """
    start = engine.state()
    dim = len(start.box)
    # K is about 0.3 near jamming (0.346 for disks 1 : 1.4, 0.25 to 0.3 for spheres); the step only needs its size.
    step = strain * start.pressure / 0.3
    phis, pressures = [], []
    for sign in (-1, 1):
        engine.restore(start)
        engine.scale((1 + sign * step) ** (-1 / dim))
        engine.relax(tolerance * force_scale(start.pressure, radii, dim), 200_000)
        state = engine.state()
        phis.append(packing_fraction(radii, state.box))
        pressures.append(state.pressure)
    engine.restore(start)
    return packing_fraction(radii, start.box) * (pressures[1] - pressures[0]) / (phis[1] - phis[0])
