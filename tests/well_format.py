"""What a file of The Well's layout must have, read from the description of the format (docs/data_format.md).

The Well's own checker is no part of its package. Where THE_WELL names a checkout of its repository, it is run too:

    git clone https://github.com/PolymathicAI/the_well
    THE_WELL=the_well pytest tests
"""

import os
import subprocess
import sys

import h5py
import numpy as np


def format_defects(file: h5py.File) -> list[str]:
    """What in `file` departs from The Well's data format, read from its description (docs/data_format.md)."""
    defects: list[str] = []

    def need(fine: bool, what: str) -> None:
        if not fine:
            defects.append(what)

    def strings(owner, name: str) -> list[str]:
        value = owner.attrs.get(name)
        listed = isinstance(value, np.ndarray) and all(isinstance(entry, str) for entry in value)
        need(listed, f"{owner.name}@{name} is no list of strings")
        return list(value) if listed else []

    def flags(owner, *names: str) -> list[bool]:
        for name in names:
            need(isinstance(owner.attrs.get(name), np.bool_), f"{owner.name}@{name} is no boolean")
        return [bool(owner.attrs.get(name, False)) for name in names]

    for name, kind in {
        "dataset_name": str,
        "grid_type": str,
        "n_spatial_dims": np.integer,
        "n_trajectories": np.integer,
    }.items():
        need(isinstance(file.attrs.get(name), kind), f"@{name}")
    for name in strings(file, "simulation_parameters"):
        need(isinstance(file.attrs.get(name), float | np.floating), f"@{name} is no number")
        need(name in file["scalars"], f"scalars/{name}")
    axes = strings(file["dimensions"], "spatial_dims")
    need(len(axes) == file.attrs["n_spatial_dims"], "spatial_dims")
    size = {}
    for name in ("time", *axes):
        axis = file["dimensions"][name]
        flags(axis, "sample_varying", "time_varying")
        need(axis.dtype == np.float32 and axis.ndim == 1, f"dimensions/{name}")
        step = np.diff(axis[:])
        need(bool(np.allclose(step, step[0], rtol=1e-4)), f"dimensions/{name} is not uniform")
        size[name] = axis.size
    covered = set()
    for group in file["boundary_conditions"].values():
        flags(group, "sample_varying", "time_varying")
        strings(group, "associated_fields")
        need(group.attrs["bc_type"] in ("WALL", "OPEN", "PERIODIC"), f"{group.name}@bc_type")
        own = strings(group, "associated_dims")
        need(group["mask"].dtype == bool and group["mask"].shape == tuple(size[d] for d in own), f"{group.name}/mask")
        covered |= set(own)
    need(covered == set(axes), "boundary_conditions do not cover every axis")
    scalars = file["scalars"]
    strings(scalars, "field_names")
    need(set(scalars.attrs["field_names"]) == set(scalars), "scalars@field_names")
    for scalar in scalars.values():
        by_sample, by_time = flags(scalar, "sample_varying", "time_varying")
        shape = [file.attrs["n_trajectories"]] * by_sample + [size["time"]] * by_time
        need(scalar.dtype == np.float32 and list(scalar.shape) == shape, f"{scalar.name} has shape {scalar.shape}")
    for order in range(3):
        group = file[f"t{order}_fields"]
        strings(group, "field_names")
        need(set(group.attrs["field_names"]) == set(group), f"{group.name}@field_names")
        for field in group.values():
            by_sample, by_time = flags(field, "sample_varying", "time_varying")
            by_axis = field.attrs["dim_varying"]
            need(by_axis.dtype == bool and by_axis.size == len(axes), f"{field.name}@dim_varying")
            shape = [file.attrs["n_trajectories"]] * by_sample + [size["time"]] * by_time
            shape += [size[axis] for axis, varies in zip(axes, by_axis, strict=True) if varies] + [len(axes)] * order
            need(field.dtype == np.float32 and list(field.shape) == shape, f"{field.name} has shape {field.shape}")
    if file.mode == "r" and (checkout := os.environ.get("THE_WELL")):
        script = [sys.executable, f"{checkout}/scripts/check_thewell_formatting.py", file.filename]
        told = subprocess.run(script, check=True, capture_output=True, text=True).stdout
        need("Error" not in told and told.count("passed!") == 6, told)
    return defects
