"""Packings of one mixture from the command line: the documented file, extended and killed without a loss."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from wavesim.cli import main
from wavesim.errors import WavesimError
from wavesim.granular import Mixture, generate_mixture, read_packings
from wavesim.granular.jamming import Compression

DISKS = ("--dim", 2, "--particles", 32, "--size-ratio", 0.7, "--small-fraction", 0.4, "--seed", 3)
SPHERES = ("--dim", 3, "--particles", 60, "--size-ratio", 0.5, "--small-fraction", 0.2, "--seed", 3)
DATASETS = {
    "positions": "f",
    "radii": "f",
    "species": "u",
    "box": "f",
    "contacts/pairs": "i",
    "contacts/overlap": "f",
    "contacts/kind": "S",
    "stress": "f",
    "path/phi": "f",
    "path/pressure": "f",
}
ATTRIBUTES = set(
    "dim size_ratio small_fraction spring_constant phi phi_j pressure energy coordination coordination_all "
    "rattler_fraction rattlers_small rattlers_large bulk_modulus converged unbalanced_force protocol seed engine "
    "provenance complete".split()
)


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "wavesim", "generate", "packings", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def generated(*arguments: object) -> tuple[int, str, str]:
    process = start(*arguments)
    printed, said = process.communicate(timeout=120)
    return process.returncode, printed, said


@pytest.fixture(scope="module")
def disks(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("disks")
    code, printed, said = generated(*DISKS, "--n", 4, "--out", out)
    assert code == 0 and len(printed.splitlines()) == 5, said
    return out


@pytest.fixture(scope="module")
def spheres(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("spheres")
    code, printed, said = generated(*SPHERES, "--n", 1, "--out", out)
    assert code == 0 and len(printed.splitlines()) == 2, said
    return out


@pytest.mark.parametrize(("kind", "dim", "count"), [("disks", 2, 32), ("spheres", 3, 60)])
def test_the_file_has_the_documented_schema_and_nothing_else(kind, dim, count, request):
    with h5py.File(request.getfixturevalue(kind) / "packings.h5") as file:
        group = file["000000"]
        found: dict[str, str] = {}
        group.visititems(lambda name, item: found.update({name: item.dtype.kind}) if hasattr(item, "dtype") else None)
        assert found == DATASETS and set(group.attrs) == ATTRIBUTES
        shapes = {name: group[name].shape for name in DATASETS}
        contacts = len(group["contacts/overlap"])
        assert shapes["positions"] == (count, dim) and shapes["radii"] == shapes["species"] == (count,)
        assert shapes["box"] == (dim,) and shapes["stress"] == (dim, dim)
        assert shapes["contacts/pairs"] == (contacts, 2) and shapes["contacts/kind"] == (contacts,)
        assert shapes["path/phi"] == shapes["path/pressure"] and len(group["path/phi"]) >= 2
        assert group.attrs["dim"] == dim and group.attrs["seed"] == 3 and group.attrs["converged"]
        assert group.attrs["engine"].startswith("LAMMPS 2")
        assert json.loads(group.attrs["protocol"])["name"] == "compress stepwise and decompress"


@pytest.mark.parametrize("kind", ["disks", "spheres"])
def test_a_sum_over_all_pairs_and_images_finds_the_same_forces_stress_energy_and_rattlers(kind, request):
    """From positions, radii and box alone, in plain numpy: the states are balanced, and the attributes are theirs."""
    with h5py.File(request.getfixturevalue(kind) / "packings.h5") as file:
        for group in file.values():
            positions, radii, species, box = (group[name][:] for name in ("positions", "radii", "species", "box"))
            dim, volume = len(box), np.prod(box)
            vectors = positions[None] - positions[:, None]
            vectors -= box * np.round(vectors / box)
            distance = np.linalg.norm(vectors, axis=2) + np.diag(np.full(len(radii), np.inf))
            overlap = np.maximum(radii[None] + radii[:, None] - distance, 0)
            force = (overlap / distance)[..., None] * vectors
            stress = np.einsum("ijk,ijl->kl", force, vectors) / 2 / volume
            pressure = np.trace(stress) / dim
            net = np.linalg.norm(force.sum(axis=1), axis=1).max()
            assert net < 1e-4 * pressure * (2 * radii.min()) ** (dim - 1)
            assert group["stress"][:] == pytest.approx(stress, rel=1e-7, abs=1e-7 * pressure)
            assert group.attrs["pressure"] == pytest.approx(pressure, rel=1e-7)
            assert group.attrs["energy"] == pytest.approx((overlap**2).sum() / 4, rel=1e-7)
            touching = overlap > 0
            assert group.attrs["coordination_all"] == pytest.approx(touching.sum() / len(radii))
            carrying = np.ones(len(radii), bool)
            for _ in radii:
                carrying &= touching[:, carrying].sum(axis=1) > dim
            assert group.attrs["rattlers_small"] == (~carrying & (species == 0)).sum()
            assert group.attrs["rattlers_large"] == (~carrying & (species == 1)).sum()
            assert group.attrs["coordination"] == pytest.approx(touching[carrying][:, carrying].sum() / carrying.sum())
            kinds = np.array(["SS", "LS", "LL"])[species[group["contacts/pairs"][:]].sum(axis=1)]
            assert group["contacts/kind"].asstr()[:].tolist() == kinds.tolist()


def test_a_larger_number_adds_to_the_packings_that_are_there(disks, tmp_path):
    for n in (2, 4):
        generate_mixture(Mixture(32, 0.7, 0.4), n, tmp_path, seed=3, workers=1, progress=False)
    assert (tmp_path / "packings.h5").read_bytes() == (disks / "packings.h5").read_bytes()


def test_a_smaller_number_takes_nothing_away(disks):
    before = (disks / "packings.h5").read_bytes()
    assert len(generate_mixture(Mixture(32, 0.7, 0.4), 2, disks, seed=3, progress=False)) == 4
    assert (disks / "packings.h5").read_bytes() == before


def test_a_killed_call_is_completed_by_a_second_one_with_the_same_bytes(disks, tmp_path):
    process = start(*DISKS, "--n", 4, "--workers", 1, "--out", tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "packings.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    with h5py.File(tmp_path / "packings.h5") as file:
        assert len(file) < 4
    code, _, said = generated(*DISKS, "--n", 4, "--workers", 1, "--out", tmp_path)
    assert code == 0, said
    assert (tmp_path / "packings.h5").read_bytes() == (disks / "packings.h5").read_bytes()


def test_another_mixture_is_refused_in_the_same_folder(disks):
    with pytest.raises(WavesimError, match=r"mixture\.dim 2 there, 3 now"):
        generate_mixture(Mixture(32, 0.7, 0.4, 3), 4, disks, seed=3, progress=False)


def test_what_does_not_come_to_equilibrium_is_logged_and_what_is_whole_is_kept(tmp_path):
    with pytest.raises(WavesimError, match=r"1 of 1 packings did not come .* reasons in"):
        hasty = Compression(steps=40, stretch=20)
        generate_mixture(Mixture(32, 0.7), 1, tmp_path, seed=3, progress=False, protocol=hasty)
    lines = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
    assert {line["name"] for line in lines} == {"000000"} and "not in mechanical equilibrium" in lines[0]["reason"]
    with pytest.raises(WavesimError, match="no whole packing"):
        read_packings(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--small-fraction", 1.2), "small-fraction"),
        (("--size-ratio", 0.05), "size-ratio"),
        (("--dim", 4), "dim"),
        (("--particles", 64, "--size-ratio", 0.1, "--small-fraction", 0.4), "use at least"),
        (("--particles", 64, "--small-fraction", 1e-5), "without a small one"),
        (("--n", 2, "--config", "quick"), "exclude each other"),
        (("--ranks", 2), "--ranks 2 is for large packings"),
        (("--ranks", 10**4, "--n", 1), "ranks 10000 on"),
        (("--particles", 10**11), "this machine has"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(
        sys, "argv", ["wavesim", "generate", "packings", *map(str, arguments), "--out", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_as_many_small_as_large_have_the_concentration_that_they_make() -> None:
    assert Mixture(64, 0.5).concentration == pytest.approx(0.25 / (0.25 + 1))
    assert Mixture(64, 0.5, 0.3).concentration == 0.3
