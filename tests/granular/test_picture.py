"""Pictures of packings: each pixel of disks has the colour of the particle that is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from lattices import face_centred_cubic, triangular

from wavesim.granular import read_packings
from wavesim.granular.picture import BACKGROUND, CHAINS, COLOURS, THICKEST, _chains, _drawn, _thickest, draw_packing

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "packings.h5"


def share(picture: np.ndarray, colour: str) -> float:
    """Of the pixels that have the colour, edges left out."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return float((np.abs(picture[..., :3].astype(int) - rgb).max(axis=-1) < 3).mean())


def test_disks_cover_the_picture_as_their_areas_cover_the_box(tmp_path):
    packing = read_packings(SAMPLE)[3]
    picture = imageio.imread(draw_packing(tmp_path / "disks.png", packing, chains=False))
    areas = np.pi * packing.radii**2 / packing.volume
    for name, mask in (
        ("rattlers", packing.rattlers),
        ("small", ~packing.rattlers & (packing.species == 0)),
        ("large", ~packing.rattlers & (packing.species == 1)),
    ):
        assert mask.any() and share(picture, COLOURS[name]) == pytest.approx(areas[mask].sum(), rel=0.05)
    assert share(picture, BACKGROUND) == pytest.approx(1 - packing.phi, rel=0.05)
    assert share(picture, CHAINS) == 0


def test_force_chains_join_the_centres_of_particles_that_carry(tmp_path):
    packing = read_packings(SAMPLE)[3]
    picture = imageio.imread(draw_packing(tmp_path / "chains.png", packing))[::-1]  # row 0 at the bottom
    strongest = int(np.argmax(packing.backbone.overlap))
    first, vector = packing.backbone.pairs[strongest, 0], packing.backbone.vectors[strongest]
    for part in (0.1, 0.5, 0.9):
        x, y = np.mod(packing.positions[first] + part * vector, packing.box) / packing.box * picture.shape[0]
        assert share(picture[int(y) : int(y) + 1, int(x) : int(x) + 1], CHAINS) == 1
    for x, y in packing.positions[packing.rattlers] / packing.box * picture.shape[0]:
        assert share(picture[int(y) : int(y) + 1, int(x) : int(x) + 1], CHAINS) == 0


def test_bars_leave_the_smallest_disks_to_be_seen(tmp_path):
    large = triangular(0.98)
    small = replace(
        large,
        positions=0.15 * large.positions,
        radii=0.15 * large.radii,
        species=np.zeros_like(large.species),
        box=0.15 * large.box,
    )
    shown = [
        share(imageio.imread(draw_packing(tmp_path / f"{name}.png", packing)), COLOURS[name])
        for name, packing in (("large", large), ("small", small))
    ]
    assert shown[0] > 0.2 and shown[1] == pytest.approx(shown[0], abs=0.01)  # one picture at two scales
    radii = np.where(np.arange(len(large.radii)) % 2, 0.5, 0.075)
    assert _thickest(replace(large, radii=radii)) < 0.075 < THICKEST


def test_weak_contacts_of_spheres_are_left_out_and_none_of_a_lattice():
    packing = face_centred_cubic(0.99)
    middle = int(np.argmin(np.linalg.norm(packing.positions - packing.box / 2, axis=1)))
    moved = packing.positions.copy()
    moved[middle, 0] += 0.002  # four of its twelve contacts become stronger, four weaker, four hardly change
    assert _drawn(packing).sum() == len(packing.backbone) == 6 * len(packing.radii)
    assert 3 < (~_drawn(replace(packing, positions=moved))).sum() < 9


def test_chains_of_spheres_end_at_the_walls_of_their_box():
    """Each contact that leaves through a wall is drawn at both ends."""
    packing = face_centred_cubic(0.99)
    chains = _chains(packing)
    bounds = np.array(chains.bounds).reshape(3, 2)
    assert (bounds[:, 0] >= -1e-6).all() and (bounds[:, 1] <= packing.box + 1e-6).all()
    at_walls = [np.isclose(chains.points[:, 0], wall, atol=1e-6).sum() for wall in (0, packing.box[0])]
    assert min(at_walls) > 20


def test_spheres_are_drawn_with_their_box_and_chains(tmp_path):
    packing = face_centred_cubic(0.99)
    picture, bare = (
        imageio.imread(draw_packing(tmp_path / f"spheres{chains}.png", packing, chains)) for chains in (True, False)
    )
    assert 0.2 < 1 - share(bare, BACKGROUND) < 0.9
    reddest = [(image[..., 0].astype(int) - image[..., 2]).max() for image in (picture, bare)]
    assert reddest[0] > 60 > reddest[1]
