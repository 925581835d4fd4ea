"""Packings to and from LAMMPS and VTU: what comes back is what went out, and other programs read it the same."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import meshio
import numpy as np
import pytest
from lattices import equal, face_centred_cubic, square, triangular

from wavesim.cli import main
from wavesim.errors import WavesimError
from wavesim.granular import Mixture, Packing, read_packings
from wavesim.granular.exchange import export_packings, import_packings, read_any
from wavesim.granular.lammps_files import write_data, write_dump
from wavesim.granular.storage import append, begin
from wavesim.granular.vtk import POINT_DATA, write_vtu

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "packings.h5"


def random_packing(dim: int) -> Packing:
    mixture = Mixture(200, 0.6, 0.4, dim)
    side = mixture.side(0.8)
    positions = np.random.default_rng(dim).uniform(0, side, (200, dim))
    return Packing(positions, mixture.radii(), mixture.species(), np.full(dim, side) * [1.0, 1.1, 1.2][:dim])


def same(one: Packing, other: Packing) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("positions", "radii", "species", "box")
    )


@pytest.mark.parametrize("suffix", [".data", ".dump", ".vtu"])
@pytest.mark.parametrize("dim", [2, 3])
def test_what_is_written_is_read_to_the_last_digit(tmp_path, suffix, dim):
    packing, path = random_packing(dim), tmp_path / f"packing{suffix}"
    {".data": write_data, ".vtu": write_vtu, ".dump": lambda path, one: write_dump(path, [one])}[suffix](path, packing)
    (found,) = read_any(path)
    assert same(found, packing)
    assert found.contacts.pairs.tolist() == packing.contacts.pairs.tolist() and found.energy == packing.energy


def test_a_dump_keeps_packings_of_any_number_of_particles_and_dimension(tmp_path):
    packings = [random_packing(2), triangular(0.99), random_packing(3)]
    found = read_any(write_dump(tmp_path / "all.lammpstrj", packings))
    assert len(found) == 3 and all(map(same, found, packings))


def read_by_lammps(path: str, dim: int, copy: str) -> tuple[float, float, np.ndarray]:
    """Energy, pressure and diameters, by LAMMPS's own reader; it writes a data file and a dump in turn."""
    from wavesim.granular._lammps import _library

    engine = _library()(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    for line in (
        "units lj",
        f"dimension {dim}",
        "atom_style sphere",
        "atom_modify map array",
        "boundary p p p",
        f"read_data {path}",
        "pair_style harmonic/cut",
        "pair_coeff 1 1 0.5 0.6",
        "pair_coeff 1 2 0.5 0.8",
        "pair_coeff 2 2 0.5 1.0",
        "neighbor 0.3 bin",
        "thermo_modify norm no",
        "run 0 post no",
        f"write_data {copy}.data",
        f"write_dump all custom {copy}.dump id type radius x y z modify sort -1 format float %.17g",
    ):
        engine.command(line)
    diameters = 2 * np.array(engine.gather_atoms("radius", 1, 1))
    energy, stress = engine.get_thermo("pe"), [engine.get_thermo(name) for name in ("pxx", "pyy", "pzz")]
    engine.close()
    return energy, float(np.mean(stress[:dim])), diameters


@pytest.mark.parametrize("dim", [2, 3])
def test_lammps_reads_the_data_file_and_what_it_writes_is_read(elsewhere, tmp_path, dim):
    packing = random_packing(dim)
    path = write_data(tmp_path / "packing.data", packing)
    energy, pressure, diameters = elsewhere(read_by_lammps, str(path), dim, str(tmp_path / "copy"))
    assert energy == pytest.approx(packing.energy, rel=1e-10)
    assert pressure == pytest.approx(packing.pressure, rel=1e-10)
    assert diameters == pytest.approx(2 * packing.radii, rel=1e-14)
    for suffix in (".data", ".dump"):
        (found,) = read_any(tmp_path / f"copy{suffix}")
        assert found.positions == pytest.approx(packing.positions, abs=1e-12)
        assert found.radii == pytest.approx(packing.radii, rel=1e-14)
        assert np.array_equal(found.species, packing.species) and found.box == pytest.approx(packing.box, rel=1e-14)


def test_other_lengths_and_another_origin_are_brought_to_ours(tmp_path):
    """Diameters of 3 in a box from -6 on, rows out of order, as other programs leave them."""
    (tmp_path / "other.data").write_text(
        "by hand\n\n3 atoms\n2 atom types\n\n-6 6 xlo xhi\n-6 9 ylo yhi\n-1 1 zlo zhi\n\nAtoms\n\n"
        "3 1 1.5 2.0 0 0 0 0 0 0\n1 2 3 2.0 -6 -6 0\n2 2 3.0 2.0 -3.3 -6 0\n\nVelocities\n\n1 0 0 0\n"
    )
    (packing,) = read_any(tmp_path / "other.data")
    assert packing.box == pytest.approx([4, 5]) and packing.species.tolist() == [1, 1, 0]
    assert packing.radii == pytest.approx([0.5, 0.5, 0.25])
    assert packing.positions == pytest.approx(np.array([[0, 0], [0.9, 0], [2, 2]]))
    assert packing.contacts.overlap == pytest.approx([0.1])


def test_paraview_s_library_finds_spheres_and_force_chains(tmp_path):
    """Every line is as long as its two particles are apart, the periodic images among them."""
    import pyvista

    packing = random_packing(3)
    grid = pyvista.read(write_vtu(tmp_path / "packing.vtu", packing))
    count, contacts = len(packing.radii), packing.contacts
    assert (grid.celltypes == pyvista.CellType.VERTEX).sum() == count
    assert grid.point_data["radius"][:count] == pytest.approx(packing.radii)
    lines = grid.cells_dict[pyvista.CellType.LINE]
    assert len(lines) == len(contacts)
    lengths = np.linalg.norm(np.diff(grid.points[lines], axis=1)[:, 0], axis=1)
    radii = grid.point_data["radius"][lines].sum(axis=1)
    assert radii - lengths == pytest.approx(contacts.overlap, abs=1e-12)
    assert grid.cell_data["force"][count:] == pytest.approx(contacts.overlap)
    assert (grid.cell_data["kind"][count:] == packing.species[contacts.pairs].sum(axis=1)).all()
    assert np.array_equal(grid.point_data["particle"][lines], contacts.pairs)


def test_a_packing_without_contacts_is_written_too(tmp_path):
    loose = triangular(1.01)
    mesh = meshio.read(write_vtu(tmp_path / "loose.vtu", loose))
    assert len(mesh.points) == 36 and sum(len(block.data) for block in mesh.cells) == 36


def wavesim(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["wavesim", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


@pytest.mark.parametrize("suffix", [".data", ".vtu"])
def test_a_packing_that_leaves_and_comes_back_has_the_same_measurements(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"packing{suffix}"
    assert wavesim(monkeypatch, "export", SAMPLE, "--packing", 3, "--out", path) == 0
    for _ in range(2):  # a second call finds everything done
        assert wavesim(monkeypatch, "import", path, "--out", tmp_path / "back") == 0
    (found,), expected = read_packings(tmp_path / "back"), read_packings(SAMPLE)[3]
    assert same(found, expected)
    assert found.bulk_modulus == pytest.approx(expected.bulk_modulus, rel=1e-10)
    assert found.phi_j == pytest.approx(expected.phi_j, rel=1e-10)
    with h5py.File(tmp_path / "back" / "packings.h5") as file:
        assert file["000000"].attrs["converged"]


def test_a_saddle_point_is_named_and_not_imported(tmp_path):
    """The square lattice is in equilibrium, and any touch makes it buckle."""
    source = write_dump(tmp_path / "two.dump", [square(0.98), triangular(0.98)])
    (found,) = import_packings(source, tmp_path / "out")
    assert found.name == "000001" and found.converged
    (line,) = [json.loads(line) for line in (tmp_path / "out" / "failed.jsonl").read_text().splitlines()]
    assert line["name"] == "000000" and "saddle point" in line["reason"]


def test_what_is_not_balanced_is_named_and_not_imported(tmp_path):
    good, bad = random_lattice(), random_packing(2)
    source = write_dump(tmp_path / "two.dump", [bad, good])
    found = import_packings(source, tmp_path / "out")
    assert [packing.name for packing in found] == ["000001"] and same(found[0], good)
    (line,) = [json.loads(line) for line in (tmp_path / "out" / "failed.jsonl").read_text().splitlines()]
    assert line["name"] == "000000" and "largest net force" in line["reason"]
    with pytest.raises(WavesimError, match=r"none of the 1 packings .* reasons in"):
        import_packings(write_dump(tmp_path / "one.dump", [bad]), tmp_path / "none")
    assert not (tmp_path / "none" / "packings.h5").exists()
    with pytest.raises(WavesimError, match="begun with other settings"):
        import_packings(tmp_path / "one.dump", tmp_path / "out")


def random_lattice() -> Packing:
    """Balanced, and nowhere a round number."""
    lattice = triangular(0.987)
    return replace(lattice, positions=np.mod(lattice.positions + np.random.default_rng(0).uniform(size=2), lattice.box))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("a.data", lambda text: text.replace("Atoms", "Masses"), "no section Atoms"),
        ("a.data", lambda text: text.replace("xlo xhi", "nothing"), "no line xlo xhi"),
        ("a.data", lambda text: text.replace("\nAtoms", "0 0 0 xy xz yz\n\nAtoms"), "tilted"),
        ("a.data", lambda text: text[: len(text) // 2], "rows of 7 numbers"),
        ("a.data", lambda text: text.replace("\n1 2 1.0", "\n1 2 0.9"), "radii from"),
        ("a.data", lambda text: text.replace("\n1 2 1.0", "\n1 3 1.0"), "types must be"),
        ("a.data", lambda text: text.replace("\n1 2 1.0", "\n1 1 1.2"), "type 1 are larger than those of type 2"),
        ("a.data", lambda text: text.replace("\n1 2 1.0", "\n1 2 one"), "'one' stands where a number"),
        ("a.data", lambda text: text.replace("\n1 2 1.0 1.0", "\n1 2 1.0 nan"), "not finite"),
        ("a.data", lambda text: re.sub(r"\n2 (\d) ", r"\n1 \1 ", text), "108 particles share 107 ids"),
        ("a.data", lambda text: re.sub(r"\n1 (.*)\n2 .*\n", r"\n1 \1\n2 \1\n", text), "two particles are in one"),
        ("a.data", lambda text: text.replace("# sphere", "# atomic"), "atoms of style atomic"),
        ("a.data", lambda text: text.replace("108 atoms", "atoms"), "number of atoms is ''"),
        ("a.data", lambda text: text.replace("108 atoms", "0 atoms"), "number of atoms is '0'"),
        ("a.data", lambda text: text.replace("108 atoms", "1e400 atoms"), "number of atoms is '1e400'"),
        ("a.data", lambda text: re.sub(r"\n0.0 (\S+) xlo", r"\n\1 xlo", text), "3 rows of 2 numbers"),
        ("a.dump", lambda text: text.replace("ATOMS\n108\n", "ATOMS\n"), "number of atoms is ''"),
        ("a.dump", lambda text: text.replace("ATOMS\n108\n", "ATOMS\n0\n"), "number of atoms is '0'"),
        ("a.dump", lambda text: text.replace("NUMBER OF ATOMS", "NUMBER"), "number of atoms is ''"),
        ("a.dump", lambda text: text.replace("ITEM: NUMBER OF ATOMS", "ITEM: "), "without atoms"),
        ("a.dump", lambda text: text.replace("pp pp pp", "ff pp pp"), "periodic box"),
        ("a.dump", lambda text: text.replace("radius", "vx"), "lacks the columns diameter"),
        ("a.dump", lambda text: text.replace("ITEM: TIMESTEP", "nothing"), "no line ITEM: TIMESTEP"),
        ("a.dump", lambda text: text[: len(text) // 2], "rows of 6 numbers"),
        ("a.vtu", lambda text: text.replace("radius", "colour"), "lacks the point data radius"),
        ("a.vtu", lambda text: text[: len(text) // 2], "no VTU file"),
    ],
)
def test_a_file_that_is_no_packing_is_refused(tmp_path, name, change, words):
    path = tmp_path / name
    {".data": write_data, ".vtu": write_vtu, ".dump": lambda path, one: write_dump(path, [one])}[path.suffix](
        path, face_centred_cubic(0.99)
    )
    path.write_text(change(path.read_text()))
    with pytest.raises(WavesimError, match=words):
        read_any(path)


def changed(path: Path, change) -> Path:
    """A VTU file of ours whose points and point data another program has changed."""
    mesh = meshio.read(write_vtu(path, face_centred_cubic(0.99)))
    points, data = change(mesh.points, {name: np.array(mesh.point_data[name]) for name in POINT_DATA})
    meshio.Mesh(points, [("vertex", np.arange(len(points))[:, None])], point_data=data).write(path)
    return path


def renumbered(points: np.ndarray, data: dict, number: int) -> tuple[np.ndarray, dict]:
    return points, {**data, "particle": np.where(data["particle"] == 5, number, data["particle"])}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda points, data: (points[:0], {name: all_[:0] for name, all_ in data.items()}), "VTU file|0 points"),
        (lambda points, data: renumbered(points, data, 10**6), "not numbered 0, 1, ..., 1000000"),
        (lambda points, data: renumbered(points, data, 6), "not numbered"),
        (lambda points, data: renumbered(points, data, -1), "not numbered"),
        (lambda points, data: (points, {**data, "radius": -data["radius"]}), "radii positive"),
        (lambda points, data: (points, {**data, "box": data["box"][:, 0]}), "a box of shape"),
        (lambda points, data: (points, {**data, "species": data["species"] + 1}), "species must be"),
    ],
)
def test_a_changed_vtu_file_is_refused(tmp_path, change, words):
    with pytest.raises(WavesimError, match=words):
        read_any(changed(tmp_path / "a.vtu", change))


def test_a_dump_holds_the_packing_that_was_asked_for_or_all(tmp_path, monkeypatch):
    for more, count in ((("--packing", 2), 1), ((), 48)):
        assert wavesim(monkeypatch, "export", SAMPLE, *more, "--out", tmp_path / "x.dump") == 0
        found = read_any(tmp_path / "x.dump")
        assert len(found) == count and same(found[0], read_packings(SAMPLE)[2 if more else 0])


def test_small_spheres_alone_keep_their_size_ratio_on_the_way_and_back(tmp_path):
    """Their diameter is in that of the large ones, of which there are none; larger than 1 it would be no ratio."""
    mixture = Mixture(200, 0.5, 1.0, 3)
    places = np.random.default_rng(0).uniform(0, mixture.side(0.8), (200, 3))
    packing = Packing(places, mixture.radii(), mixture.species(), np.full(3, mixture.side(0.8)))
    assert packing.size_ratio == 0.5 and face_centred_cubic(0.99).size_ratio == 1
    for name, write in (("a.data", write_data), ("a.vtu", write_vtu)):
        (back,) = read_any(write(tmp_path / name, packing))
        assert same(back, packing) and back.size_ratio == 0.5
    tripled = replace(packing, positions=3 * places, radii=3 * packing.radii, box=3 * packing.box)
    (back,) = read_any(write_data(tmp_path / "b.data", tripled))
    assert back.size_ratio == 1 and back.contacts.overlap == pytest.approx(2 * packing.contacts.overlap)


def test_an_import_of_no_file_and_an_empty_out_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("none.data", "none.dump", "none.vtu"):
        assert wavesim(monkeypatch, "import", name, "--out", "out") == 2
        assert capsys.readouterr().err.startswith(f"wavesim: {name} does not exist")
    assert wavesim(monkeypatch, "export", "none.h5") == 2
    assert "none.h5 does not exist; make it with `wavesim generate packings`" in capsys.readouterr().err
    for arguments in (("import", SAMPLE, "--out", ""), ("generate", "packings", "--out=")):
        assert wavesim(monkeypatch, *arguments) == 2
        said = capsys.readouterr().err
        assert "--out" in said and "is given an empty value" in said and len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exchanged_is_refused(tmp_path):
    begin(tmp_path / "packings.h5", {})
    append(tmp_path / "packings.h5", "000000", equal(triangular(0.99).positions, triangular(0.99).box))
    for number, name, words in (
        (1, "a.data", "numbered from 0"),
        (0, "a.xyz", "not '.xyz'"),
        (0, "a.vtk", "not '.vtk'"),
    ):
        with pytest.raises(WavesimError, match=words):
            export_packings(tmp_path, tmp_path / name, number)
    with pytest.raises(WavesimError, match="are read from"):
        read_any(tmp_path / "a.xyz")
    (tmp_path / "binary.data").write_bytes(b"\xff\xfe")
    with pytest.raises(WavesimError, match="no text file"):
        read_any(tmp_path / "binary.data")
