"""packings.h5: what is written is read, with plain h5py too; what is not whole is told apart."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from lattices import face_centred_cubic, triangular

from wavesim.errors import WavesimError
from wavesim.granular import Packing, read_packings
from wavesim.granular.storage import append, begin

SETTINGS = {"config": {"particles": 36, "size_ratios": (0.5, 1 / 3)}, "seed": 3}


def full(packing: Packing) -> Packing:
    """The lattice with everything that a protocol adds."""
    return replace(
        packing,
        phi_j=0.9,
        bulk_modulus=0.875,
        path_phi=np.array([0.95, 0.92]),
        path_pressure=np.array([0.1, 0.02]),
        protocol='{"name": "none"}',
        seed=3,
        engine="by hand",
        provenance={"index": 0},
    )


@pytest.fixture
def path(tmp_path):
    """A file with a two- and a three-dimensional packing."""
    path = tmp_path / "packings.h5"
    assert begin(path, SETTINGS) == []
    append(path, "000000", full(triangular(0.98)))
    append(path, "000001", full(face_centred_cubic(0.98)))
    return path


def test_what_is_written_is_read(path):
    for folder_or_file in (path, path.parent):
        flat, spatial = read_packings(folder_or_file)
        assert (flat.name, flat.dim, spatial.name, spatial.dim) == ("000000", 2, "000001", 3)
    written = full(triangular(0.98))
    for name in ("positions", "radii", "species", "box", "path_phi", "path_pressure", "stress"):
        assert np.array_equal(getattr(flat, name), getattr(written, name)), name
    for name in ("phi_j", "bulk_modulus", "protocol", "seed", "engine", "provenance", "pressure", "coordination"):
        assert getattr(flat, name) == getattr(written, name), name


def test_plain_h5py_finds_the_documented_layout(path):
    """The closed forms of the triangular lattice at spacing 0.98, k_n = 1."""
    with h5py.File(path) as file:
        group = file["000000"]
        assert group["positions"].shape == (36, 2) and group["box"].shape == (2,)
        assert group["radii"][:].tolist() == [0.5] * 36 and group["species"][:].tolist() == [1] * 36
        assert group["contacts/pairs"].shape == (108, 2)
        assert group["contacts/overlap"][:] == pytest.approx(0.02, rel=1e-10)
        assert set(group["contacts/kind"].asstr()[:]) == {"LL"}
        assert group["stress"][:] == pytest.approx(np.eye(2) * np.sqrt(3) * 0.02 / 0.98, rel=1e-10, abs=1e-14)
        assert group["path/phi"].shape == group["path/pressure"].shape == (2,)
        expected = {
            "dim": 2,
            "size_ratio": 1.0,
            "small_fraction": 0.0,
            "spring_constant": 1.0,
            "phi": np.pi / (2 * np.sqrt(3) * 0.98**2),
            "phi_j": 0.9,
            "pressure": np.sqrt(3) * 0.02 / 0.98,
            "energy": 54 * 0.02**2,
            "coordination": 6.0,
            "coordination_all": 6.0,
            "rattler_fraction": 0.0,
            "rattlers_small": 0,
            "rattlers_large": 0,
            "bulk_modulus": 0.875,
            "converged": True,
            "complete": True,
            "seed": 3,
        }
        for name, value in expected.items():
            assert group.attrs[name] == pytest.approx(value, rel=1e-10), name
        assert 0 <= group.attrs["unbalanced_force"] < 1e-10
        assert json.loads(group.attrs["provenance"]) == {"index": 0}
        assert group.attrs["engine"] == "by hand" and group.attrs["protocol"] == '{"name": "none"}'


def test_the_bulk_modulus_is_absent_where_it_was_not_measured(tmp_path):
    path = tmp_path / "packings.h5"
    begin(path, SETTINGS)
    append(path, "000000", replace(full(triangular(0.98)), bulk_modulus=None))
    with h5py.File(path) as file:
        assert "bulk_modulus" not in file["000000"].attrs
        assert not file["000000"].attrs["converged"]
    assert read_packings(path)[0].bulk_modulus is None


def test_a_group_cut_short_is_passed_over_and_then_removed(path):
    with h5py.File(path, "r+") as file:
        file["000001"].attrs.pop("complete")
        file["000002/positions"] = np.zeros((3, 2))
    assert [packing.name for packing in read_packings(path)] == ["000000"]
    assert begin(path, SETTINGS) == ["000000"]
    append(path, "000001", full(triangular(0.97)))
    with h5py.File(path) as file:
        assert sorted(file) == ["000000", "000001"]
    assert [packing.dim for packing in read_packings(path)] == [2, 2]


def test_a_packing_out_of_equilibrium_is_not_written(path):
    lattice = triangular(0.98)
    moved = lattice.positions.copy()
    moved[3] += 1e-3
    before = path.read_bytes()
    with pytest.raises(WavesimError, match="not in mechanical equilibrium"):
        append(path, "000002", replace(full(lattice), positions=moved))
    assert path.read_bytes() == before


def test_other_settings_are_refused_and_named(path):
    begin(path, SETTINGS)
    with pytest.raises(WavesimError, match=r"config\.particles 36 there, 64 now, seed 3 there, 4 now"):
        begin(path, {"config": {"particles": 64, "size_ratios": (0.5, 1 / 3)}, "seed": 4})


def test_a_missing_file_is_told_with_its_remedy(tmp_path):
    for path in (tmp_path, tmp_path / "packings.h5"):
        with pytest.raises(WavesimError, match="does not exist; make it with"):
            read_packings(path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    for use in (read_packings, lambda path: begin(path, SETTINGS)):
        with pytest.raises(WavesimError, match="not a whole HDF5 file"):
            use(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "packings.h5"
    with h5py.File(path, "w") as file:
        file["field"] = np.zeros(3)
    with pytest.raises(WavesimError, match="no whole packing"):
        read_packings(path)
    with pytest.raises(WavesimError, match="was not made by"):
        begin(path, SETTINGS)
    path.write_text("position x y\n")
    with pytest.raises(WavesimError, match="not a whole HDF5 file"):
        read_packings(path)


def test_a_damaged_group_is_named(path):
    with h5py.File(path, "r+") as file:
        del file["000001/radii"]
    with pytest.raises(WavesimError, match="packing 000001 lacks radii"):
        read_packings(path)
    with h5py.File(path, "r+") as file:
        file["000001/radii"] = np.ones(5)
    with pytest.raises(WavesimError, match="packing 000001 is damaged"):
        read_packings(path)
