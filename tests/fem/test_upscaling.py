"""Coefficients of coarse cells by static problems: closed forms, and a wave on the coarse grid."""

from __future__ import annotations

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem import Materials, Mesh, Nodes, assemble, from_packing
from wavesim.fem.packing_mesh import SquarePacking
from wavesim.fem.upscaling import upscaled

LAYERS = Materials((1.0, 20.0), (1.0, 5.0))


def columns(widths: list[float]) -> Mesh:
    """Columns of two cells each, of materials 0 and 1 in turn."""
    x = np.concatenate([[0.0], np.cumsum(widths)])
    points = np.array([(a, b) for b in (0.0, 0.5, 1.0) for a in x])
    first = np.concatenate([row * len(x) + np.arange(len(widths)) for row in (0, 1)])
    cells = np.stack([first, first + 1, first + 1 + len(x), first + len(x)], axis=1)
    return Mesh(points, cells, np.tile(np.arange(len(widths)) % 2, 2))


def test_layers_act_one_after_the_other_across_and_side_by_side_along():
    """Four control cells of a half each; the left ones hold 0.2 of the second material, the right ones 0.6."""
    found = upscaled(LAYERS, columns([0.3, 0.1, 0.2, 0.3, 0.1]), Nodes((1, 1), 1))
    for cell, share in enumerate((0.2, 0.6, 0.2, 0.6)):
        exact = np.diag([1 / (1 - share + 5 * share), 1 - share + share / 5])
        np.testing.assert_allclose(found.inverse_density[..., cell], exact, rtol=0.02, atol=1e-9)
        assert found.bulk_modulus[cell] == pytest.approx(1 / (1 - share + share / 20), rel=0.02)


def test_a_square_array_of_disks_has_rayleighs_conductivity_in_each_quarter():
    """As in test_homogenisation.py. By symmetry each quarter lets through what the whole does; slopes across, which
    cancel in the whole but not in a quarter, move it by 2 %. Averages of 1/rho and of rho are off by 13 and 31 %."""
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    disk = SquarePacking("one", np.array([[0.5, 0.5]]), np.array([0.3]), 1.0)
    medium, mesh = from_packing(disk, 0, "conforming", 3.0, 5.0, 1 - 1e-9, 0.1)
    found = upscaled(medium, mesh, Nodes((1, 1), 1))
    f, t = np.pi * 0.3**2, (1 + 1 / 5) / (1 - 1 / 5)
    exact = 1 - 2 * f / (t + f - 0.305827 * f**4 * t / (t**2 - 1.402958 * f**8) - 0.013362 * f**8 / t)
    for cell in range(4):
        np.testing.assert_allclose(np.diag(found.inverse_density[..., cell]), exact, rtol=0.03)


def test_one_material_stays_what_it_is():
    found = upscaled(Materials((3.0, 3.0), (2.0, 2.0)), columns([0.4, 0.6]), Nodes((4, 3), 2))
    np.testing.assert_allclose(found.bulk_modulus, 3.0)
    np.testing.assert_allclose(found.inverse_density, np.eye(2)[..., None] / 2 * np.ones(12 * 9), atol=1e-12)


def test_averages_are_of_their_own_mesh():
    nodes = Nodes((4, 4), 2)
    found = upscaled(LAYERS, columns([0.5, 0.5]), nodes)
    assert assemble(found, nodes, 0.1, (4, 4)).operator.steps > 0
    with pytest.raises(WavesimError, match="another mesh"):
        assemble(found, Nodes((5, 4), 2), 0.1, (4, 4))
