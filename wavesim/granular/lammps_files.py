"""Packings as LAMMPS writes and reads them, which OVITO opens too: data files and dumps, in plain text.

A data file holds one packing, atom style `sphere` (id type diameter density x y z); a dump holds one a frame (id type
x y z radius). Types are 1 small, 2 large. Numbers have 17 digits, so that what is read equals what was written; LAMMPS
itself writes six into a dump, with which hardly a packing is balanced: `dump_modify ID format float %.17g`.

On reading, lengths are divided by the diameter of type 2 (without any, by that of type 1 where it is over 1), and the
box is moved to the origin.
Formats: docs.lammps.org/read_data.html, docs.lammps.org/dump.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wavesim.errors import WavesimError
from wavesim.granular.packing import LARGE, SMALL, Packing
from wavesim.provenance import whole_file

DATA, DUMPS = (".data", ".lmp"), (".dump", ".lammpstrj")
THICKNESS = 1.0  # of the box around disks, which LAMMPS wants as well
EQUAL = 1e-5  # relative: radii of one species that differ by less are equal, as six digits write them


def write_data(path: str | Path, packing: Packing) -> Path:
    """Write one packing as a LAMMPS data file.

    Raises:
        WavesimError: a full disk.
    """
    rows = (
        f"{row} {kind + 1} {2 * radius!r} 1.0 {' '.join(map(repr, place))}"
        for row, kind, radius, place in _particles(packing)
    )
    bounds = (f"{low!r} {high!r} {a}lo {a}hi" for a, (low, high) in zip("xyz", _bounds(packing), strict=True))
    lines = [
        f"packing {packing.name} of wavesim, phi {packing.phi:.8f}; lengths in large diameters, forces in k_n",
        "",
        f"{len(packing.radii)} atoms",
        "2 atom types",
        "",
        *bounds,
        "",
        "Atoms # sphere",
        "",
        *rows,
    ]
    return _write(path, lines)


def write_dump(path: str | Path, packings: Sequence[Packing]) -> Path:
    """Write packings as the frames of a LAMMPS dump.

    Raises:
        WavesimError: a full disk.
    """
    lines: list[str] = []
    for frame, packing in enumerate(packings):
        lines += ["ITEM: TIMESTEP", str(frame), "ITEM: NUMBER OF ATOMS", str(len(packing.radii))]
        lines += ["ITEM: BOX BOUNDS pp pp pp", *(f"{low!r} {high!r}" for low, high in _bounds(packing))]
        lines += ["ITEM: ATOMS id type x y z radius"]
        lines += [
            f"{row} {kind + 1} {' '.join(map(repr, place))} {radius!r}"
            for row, kind, radius, place in _particles(packing)
        ]
    return _write(path, lines)


def read_data(path: str | Path) -> Packing:
    """The packing of a LAMMPS data file of atom style `sphere`, in a rectangular periodic box.

    Raises:
        WavesimError: no such file, not of this kind, or no packing of two species.
    """
    text = _text(path)
    lines = [line.split("#")[0].split() for line in text[1:]]
    header: dict[str, list[str]] = {}
    start = next((k for k, line in enumerate(lines) if line == ["Atoms"]), None)
    if start is None:
        raise WavesimError(f"{path} has no section Atoms; give a data file of LAMMPS, of atom style sphere")
    style = text[1 + start].partition("#")[2].strip()
    if style not in ("", "sphere"):
        raise WavesimError(f"{path} has atoms of style {style}; of style sphere, with diameters, they can be read")
    for line in lines[:start]:
        names = [word for word in line if word[0].isalpha()]
        header[" ".join(names)] = [word for word in line if not word[0].isalpha()]
    missing = {"atoms", "atom types", "xlo xhi", "ylo yhi", "zlo zhi"} - set(header)
    if missing or "xy xz yz" in header:
        what = "a tilted box" if "xy xz yz" in header else f"no line {', '.join(sorted(missing))}"
        raise WavesimError(f"{path} has {what}; a rectangular periodic box of spheres can be read")
    count = _count(path, header["atoms"])
    rows = [line for line in lines[start + 1 :] if line][:count]
    table = _table(path, rows, count, 7)
    bounds = _table(path, [header[f"{a}lo {a}hi"] for a in "xyz"], 3, 2)
    return _packing(path, table[:, 0], table[:, 1], table[:, 4:7], table[:, 2] / 2, bounds)


def read_dump(path: str | Path) -> list[Packing]:
    """The packings of a LAMMPS dump with the columns id, type, x, y, z and radius or diameter, frame by frame.

    Raises:
        WavesimError: as `read_data`.
    """
    return list(_frames(path, _text(path)))


def _frames(path: str | Path, lines: list[str]) -> Iterator[Packing]:
    begins = [k for k, line in enumerate(lines) if line.startswith("ITEM: TIMESTEP")]
    if not begins:
        raise WavesimError(f"{path} has no line ITEM: TIMESTEP; give a dump of LAMMPS")
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        items = [k for k in range(begin, end) if lines[k].startswith("ITEM: ")]
        ends = [*items[1:], end]
        sections = {" ".join(lines[k].split()[1:]): lines[k + 1 : after] for k, after in zip(items, ends, strict=True)}
        names = {name.split()[0]: name.split() for name in sections if name.split()}
        if not {"NUMBER", "BOX", "ATOMS"} <= set(names) or names["BOX"][2:] != ["pp"] * 3:
            raise WavesimError(f"{path}: a frame without atoms or without a rectangular, periodic box (pp pp pp)")
        columns = names["ATOMS"][1:]
        size = "radius" if "radius" in columns else "diameter"
        wanted = ("id", "type", "x", "y", "z", size)
        lacking = [name for name in wanted if name not in columns]
        if lacking:
            raise WavesimError(f"{path}: the dump lacks the columns {', '.join(lacking)}; write id type x y z radius")
        count = _count(path, sections.get("NUMBER OF ATOMS", []))
        rows = [line.split() for line in sections[" ".join(names["ATOMS"])]]
        table = _table(path, rows, count, len(columns))
        number, kind, x, y, z, radius = (table[:, columns.index(name)] for name in wanted)
        bounds = _table(path, [line.split() for line in sections[" ".join(names["BOX"])]], 3, 2)
        radius = radius if size == "radius" else radius / 2
        yield _packing(path, number, kind, np.stack([x, y, z], axis=1), radius, bounds)


def _packing(
    path: str | Path, number: np.ndarray, kind: np.ndarray, places: np.ndarray, radius: np.ndarray, bounds: np.ndarray
) -> Packing:
    """The packing of columns in any order. places: (N, 3); bounds: (3, 2); the others (N,)."""
    if len(np.unique(number)) < len(number):
        raise WavesimError(f"{path}: {len(number)} particles share {len(np.unique(number))} ids; each has its own")
    order = np.argsort(number)
    kind, places, radius = kind[order], places[order], radius[order]
    if not np.isin(kind, (SMALL + 1, LARGE + 1)).all() or not (radius > 0).all():
        raise WavesimError(f"{path}: types must be 1 (small) or 2 (large), and radii positive")
    species = kind.astype(int) - 1
    for each in np.unique(species):
        sizes = radius[species == each]
        if np.ptp(sizes) > EQUAL * sizes.max():
            raise WavesimError(
                f"{path}: type {each + 1} has radii from {sizes.min():.6g} to {sizes.max():.6g}; one size"
            )
        radius[species == each] = sizes.max()
    if len(np.unique(species)) == 2 and radius[species == SMALL].max() > radius[species == LARGE].max() * (1 + EQUAL):
        raise WavesimError(f"{path}: particles of type 1 are larger than those of type 2; exchange the types")
    dim = 2 if np.ptp(places[:, 2]) == 0 else 3
    large = radius[species == LARGE]
    unit = 2 * float(large.max()) if len(large) else max(1.0, 2 * float(radius.max()))
    low, high = bounds[:dim].T
    try:
        packing = Packing(
            (places[:, :dim] - low) / unit,
            radius / unit,
            species,
            (high - low) / unit,
            engine=f"read from {Path(path).name}",
        )
    except WavesimError as error:
        raise WavesimError(f"{path}: {error}") from error
    if not packing.contacts.vectors.any(axis=1).all():
        raise WavesimError(f"{path}: two particles are in one place")
    return packing


def _particles(packing: Packing) -> Iterator[tuple[int, int, float, list[float]]]:
    """Number from 1, species, radius and the three coordinates of each particle."""
    places = np.pad(packing.positions, ((0, 0), (0, 3 - packing.dim)))
    rows = zip(packing.species, packing.radii, places, strict=True)
    return ((k, int(kind), float(radius), list(map(float, place))) for k, (kind, radius, place) in enumerate(rows, 1))


def _bounds(packing: Packing) -> list[tuple[float, float]]:
    """Low and high of the box along x, y and z."""
    flat = [(-THICKNESS / 2, THICKNESS / 2)] * (3 - packing.dim)
    return [(0.0, float(side)) for side in packing.box] + flat


def _write(path: str | Path, lines: list[str]) -> Path:
    with whole_file(path) as part:
        part.write_text("\n".join(lines) + "\n")
    return Path(path)


def _text(path: str | Path) -> list[str]:
    if not Path(path).exists():
        raise WavesimError(f"{path} does not exist; give a data file or a dump of LAMMPS")
    try:
        return Path(path).read_text().splitlines()
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise WavesimError(f"{path} is no text file that can be read ({type(error).__name__})") from error


def _number(path: str | Path, word: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise WavesimError(f"{path}: '{word}' stands where a number should; the file is damaged") from error


def _count(path: str | Path, words: list[str]) -> int:
    if len(words) != 1 or not words[0].strip().isdecimal() or int(words[0]) == 0:
        raise WavesimError(f"{path}: the number of atoms is '{' '.join(words)}', not a whole number from 1 on")
    return int(words[0])


def _table(path: str | Path, rows: list[list[str]], count: int, width: int) -> np.ndarray:
    """(count, width) numbers: the first `width` of each row."""
    if len(rows) != count or any(len(row) < width for row in rows):
        raise WavesimError(f"{path}: {count} rows of {width} numbers expected, {len(rows)} found, or one too short")
    table = np.array([[_number(path, word) for word in row[:width]] for row in rows])
    if not np.isfinite(table).all():
        raise WavesimError(f"{path} holds numbers that are not finite")
    return table
