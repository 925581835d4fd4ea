"""packings.h5: one group a packing, "/000000" and on; the format is told in data/README.md.

HDF5 has no journal: a kill in the middle of an append can leave a file that nothing opens again. So a packing is added
to a copy, which takes the file's name once it is whole. A group without the attribute `complete` was cut short by some
other writer: readers pass it over, and the next append removes it. The same packings, added in the same order, give
the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wavesim.errors import WavesimError
from wavesim.granular.packing import LARGE, SMALL, SPRING_CONSTANT, Packing
from wavesim.hdf5 import whole_hdf5
from wavesim.provenance import settings_hash
from wavesim.settings import differences

DATASETS = ("positions", "radii", "species", "box", "path/phi", "path/pressure")
ATTRIBUTES = ("phi_j", "protocol", "seed", "engine", "provenance")


def read_packings(path: str | Path) -> list[Packing]:
    """The whole packings of a packings.h5, or of the folder that holds it, in the order of their names.

    Raises:
        WavesimError: no such file, not HDF5 or cut short, no whole packing in it, a group of another layout.
    """
    path = find_packings(path)
    with _opened(path) as file:
        return [_read(path, name, file[name]) for name in _whole(file)]


def find_packings(path: str | Path) -> Path:
    """`path`, or where it is a folder the packings.h5 in it.

    Raises:
        WavesimError: no such file, not HDF5 or cut short, no whole packing in it.
    """
    path = Path(path) / "packings.h5" if Path(path).is_dir() else Path(path)
    with _opened(path) as file:
        if not _whole(file):
            raise WavesimError(f"{path} holds no whole packing; make some with `wavesim generate packings`")
    return path


def begin(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """Start a file for packings made with `settings`, or go on with one; the names of the packings it already has.

    Raises:
        WavesimError: the file is not whole, not of this format, or was begun with other settings.
    """
    if not path.exists():
        with whole_hdf5(path) as file:
            file.attrs.update(settings=json.dumps(settings, sort_keys=True), settings_hash=settings_hash(settings))
        return []
    with _opened(path) as file:
        if "settings_hash" not in file.attrs or "settings" not in file.attrs:
            raise WavesimError(f"{path} was not made by `wavesim generate packings`; give another folder")
        if file.attrs["settings_hash"] != settings_hash(settings):
            changed = ", ".join(differences(json.loads(file.attrs["settings"]), json.loads(json.dumps(settings))))
            raise WavesimError(f"{path} was begun with other settings ({changed}); give another folder or move it")
        return _whole(file)


def append(path: Path, name: str, packing: Packing) -> None:
    """Add a packing to the file, and remove what was cut short; killed at any moment, the file stays whole.

    Raises:
        WavesimError: the packing is not in mechanical equilibrium; the disk is full.
    """
    if not packing.balanced:
        raise WavesimError(
            f"packing {name} is not in mechanical equilibrium (unbalanced force {packing.unbalanced_force:.1e}): "
            "nothing was written"
        )
    with whole_hdf5(path, "r+") as file:
        for cut_short in set(file) - set(_whole(file)):
            del file[cut_short]
        _write(file.create_group(name), packing)


def _write(group: h5py.Group, packing: Packing) -> None:
    contacts = packing.contacts
    arrays = {
        "positions": packing.positions,
        "radii": packing.radii,
        "species": packing.species.astype(np.uint8),
        "box": packing.box,
        "contacts/pairs": contacts.pairs.astype(np.int32),
        "contacts/overlap": contacts.overlap,
        "contacts/kind": contacts.kind.astype("S2"),
        "stress": packing.stress,
        "path/phi": packing.path_phi,
        "path/pressure": packing.path_pressure,
    }
    for name, array in arrays.items():
        group.create_dataset(name, data=array)
    group.attrs.update(
        dim=packing.dim,
        size_ratio=packing.size_ratio,
        small_fraction=packing.small_fraction,
        spring_constant=SPRING_CONSTANT,
        phi=packing.phi,
        phi_j=packing.phi_j,
        pressure=packing.pressure,
        energy=packing.energy,
        coordination=packing.coordination,
        coordination_all=packing.coordination_all,
        rattler_fraction=packing.rattler_fraction,
        rattlers_small=int(packing.rattlers[packing.species == SMALL].sum()),
        rattlers_large=int(packing.rattlers[packing.species == LARGE].sum()),
        converged=packing.converged,
        unbalanced_force=packing.unbalanced_force,
        protocol=packing.protocol,
        seed=packing.seed,
        engine=packing.engine,
        provenance=json.dumps(dict(packing.provenance), sort_keys=True),
    )
    if packing.bulk_modulus is not None:
        group.attrs["bulk_modulus"] = packing.bulk_modulus
    group.attrs["complete"] = True


def _read(path: Path, name: str, group: h5py.Group) -> Packing:
    missing = [key for key in DATASETS if key not in group] + [key for key in ATTRIBUTES if key not in group.attrs]
    if missing:
        raise WavesimError(f"{path}: packing {name} lacks {', '.join(missing)}")
    attrs = group.attrs
    try:
        return Packing(
            positions=group["positions"][:],
            radii=group["radii"][:],
            species=group["species"][:],
            box=group["box"][:],
            phi_j=float(attrs["phi_j"]),
            bulk_modulus=float(attrs["bulk_modulus"]) if "bulk_modulus" in attrs else None,
            path_phi=group["path/phi"][:],
            path_pressure=group["path/pressure"][:],
            protocol=attrs["protocol"],
            seed=int(attrs["seed"]),
            engine=attrs["engine"],
            provenance=json.loads(attrs["provenance"]),
            name=name,
        )
    except (WavesimError, ValueError) as error:
        raise WavesimError(f"{path}: packing {name} is damaged: {error}") from error


def _opened(path: Path) -> h5py.File:
    if not path.is_file():
        raise WavesimError(f"{path} does not exist; make it with `wavesim generate packings`")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise WavesimError(
            f"{path} is not a whole HDF5 file ({error}); give a whole packings.h5; to make this one again, move it away"
        ) from error


def _whole(file: h5py.File) -> list[str]:
    return sorted(name for name in file if "complete" in file[name].attrs)
