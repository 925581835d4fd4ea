"""Packings in and out: LAMMPS data files and dumps, VTU, and pictures, told apart by their suffix.

What comes in is measured like what is made here: only what is in mechanical equilibrium, and has a bulk modulus,
becomes a packing of OUT/packings.h5; the rest is named in OUT/failed.jsonl with its reason.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wavesim.errors import WavesimError
from wavesim.granular import storage
from wavesim.granular.lammps_files import DATA, DUMPS, read_data, read_dump, write_data, write_dump
from wavesim.granular.moduli import bulk_modulus
from wavesim.granular.packing import EQUILIBRIUM, Packing
from wavesim.granular.picture import draw_packing
from wavesim.granular.vtk import read_vtu, write_vtu
from wavesim.lock import sole_user
from wavesim.provenance import file_hash, log_lines, revision, versions

VTU = (".vtu",)
SUFFIXES = (*DATA, *DUMPS, *VTU)


def export_packings(source: str | Path, out: str | Path, number: int | None = None) -> Path:
    """Write one packing of a packings.h5, the first where no number is given, as .data, .lmp, .vtu, .png, or .dump; as
    .dump without a number all of them, frame by frame.

    Raises:
        WavesimError: no packing of that number, another suffix, or a full disk.
    """
    packings, suffix = storage.read_packings(source), Path(out).suffix
    writers = {**dict.fromkeys(DATA, write_data), ".vtu": write_vtu, ".png": draw_packing}
    if suffix not in (*writers, *DUMPS):
        raise WavesimError(f"{out}: packings are written as {', '.join((*writers, *DUMPS))}, not '{suffix}'")
    if number is not None and not 0 <= number < len(packings):
        raise WavesimError(f"{source} holds {len(packings)} packings, numbered from 0; {number} is none of them")
    if suffix in DUMPS:
        return write_dump(out, packings if number is None else [packings[number]])
    return writers[suffix](out, packings[number or 0])


def read_any(source: str | Path) -> list[Packing]:
    """The packings of a file of another program, as they stand there.

    Raises:
        WavesimError: another suffix, or a file that is not what its suffix says.
    """
    suffix = Path(source).suffix
    if suffix in DUMPS:
        return read_dump(source)
    if suffix not in SUFFIXES:
        raise WavesimError(f"{source}: packings are read from {', '.join(SUFFIXES)}, not '{suffix}'")
    return [(read_vtu if suffix in VTU else read_data)(source)]


def import_packings(source: str | Path, out: str | Path) -> list[Packing]:
    """Measure the packings of a file of another program, and write those in equilibrium into OUT/packings.h5.

    phi_j is phi (1 - p / K). Returns what the file then holds.

    Raises:
        WavesimError: as `read_any`; a file that was begun with others; none in mechanical equilibrium.
    """
    out, found = Path(out), read_any(source)
    settings = {"imported": Path(source).name, "sha256": file_hash(source)}
    path = out / "packings.h5"
    with sole_user(out, ".packings.lock"):
        begun = path.exists()
        done = storage.begin(path, settings)
        provenance = {"settings": settings, "versions": versions("scipy"), "revision": revision()}
        for index, packing in enumerate(found):
            name = f"{index:06d}"
            if name in done:
                continue
            try:
                measured = _measured(packing)
            except WavesimError as error:
                log_lines(out / "failed.jsonl", [{"reason": str(error)}], name=name)
                continue
            storage.append(path, name, replace(measured, provenance={**provenance, "index": index}))
        try:
            return storage.read_packings(path)
        except WavesimError as error:
            if not begun:
                path.unlink()
            raise WavesimError(
                f"none of the {len(found)} packings of {source} is in mechanical equilibrium; "
                f"reasons in {out / 'failed.jsonl'}"
            ) from error


def _measured(packing: Packing) -> Packing:
    if not packing.balanced:
        raise WavesimError(
            f"the largest net force is {packing.unbalanced_force:.1e} of the load p d_S^(D-1), allowed {EQUILIBRIUM}"
        )
    modulus = bulk_modulus(packing)
    if not modulus > 0:
        raise WavesimError(f"bulk modulus {modulus:.3g} at pressure {packing.pressure:.1e}: not a stable packing")
    return replace(packing, bulk_modulus=modulus, phi_j=packing.phi * (1 - packing.pressure / modulus), protocol="read")
