"""A run of packings: reproducible, resumable, and without the engine in the process that calls it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from wavesim.config import PackingsConfig
from wavesim.errors import WavesimError
from wavesim.granular import generate, generate_packings, read_packings
from wavesim.granular._lammps import EngineError
from wavesim.granular.jamming import NotJammedError, Protocol
from wavesim.granular.mixture import Mixture
from wavesim.lock import sole_user
from wavesim.provenance import generator

CONFIG = PackingsConfig(per_ratio=3, particles=32)
SCRIPT = """
import sys
from pathlib import Path
from wavesim.config import PackingsConfig
from wavesim.granular import generate_packings

if __name__ == "__main__":
    config = PackingsConfig.model_validate_json(sys.argv[2])
    generate_packings(config, Path(sys.argv[1]), int(sys.argv[3]))
    assert not {"lammps", "mpi4py"} & set(sys.modules)
"""


def run(script: Path, out: Path, config: PackingsConfig, seed: int) -> subprocess.Popen:
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(out), config.model_dump_json(), str(seed)]
    return subprocess.Popen(command, cwd=script.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder and the rows of a run without interruption."""
    out = tmp_path_factory.mktemp("unbroken")
    return out, generate_packings(CONFIG, out, seed=7, workers=2, progress=False)


def test_rows_tell_what_the_file_holds(unbroken):
    out, rows = unbroken
    packings = read_packings(out)
    assert [row["name"] for row in rows] == [f"{k:06d}" for k in range(6)]
    assert [row["size_ratio"] for row in rows] == list(CONFIG.size_ratios) * 3
    for row, packing in zip(rows, packings, strict=True):
        for name in ("phi_j", "phi", "coordination", "rattler_fraction", "bulk_modulus", "pressure"):
            assert row[name] == getattr(packing, name), name
        assert packing.converged and packing.seed == 7
        assert packing.provenance["settings"]["config"]["particles"] == 32
        assert 0 < row["seconds"] < 60


def test_the_parent_never_imports_the_engine(unbroken):
    assert not [name for name in sys.modules if name.partition(".")[0] == "lammps"]


def test_nothing_is_printed_and_no_other_file_is_written(tmp_path):
    process = run(tmp_path / "script.py", tmp_path / "out", PackingsConfig(per_ratio=1, particles=16), 0)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "script.py"]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [".packings.lock", "packings.h5", "packings.jsonl"]


def test_the_file_is_the_same_with_one_worker(unbroken, tmp_path):
    generate_packings(CONFIG, tmp_path, seed=7, workers=1, progress=False)
    assert (tmp_path / "packings.h5").read_bytes() == (unbroken[0] / "packings.h5").read_bytes()


def test_a_packing_depends_on_the_seed(unbroken, tmp_path):
    rows = generate_packings(PackingsConfig(per_ratio=1, particles=32), tmp_path, seed=8, progress=False)
    assert rows[0]["phi_j"] != unbroken[1][0]["phi_j"]


def test_a_second_call_makes_nothing_again(unbroken):
    out, rows = unbroken
    before = (out / "packings.h5").stat().st_mtime_ns
    assert generate_packings(CONFIG, out, seed=7, progress=False) == rows
    assert (out / "packings.h5").stat().st_mtime_ns == before


def test_a_killed_run_leaves_no_process_behind_and_is_completed_by_a_second_call(tmp_path):
    config, out = PackingsConfig(per_ratio=20, particles=32), tmp_path / "out"
    process = run(tmp_path / "script.py", out, config, 7)
    log = out / "packings.jsonl"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)  # the workers share the pipes, which close when the last of them has ended

    with h5py.File(out / "packings.h5") as file:
        done = len(file)
    assert done < 40
    rows = generate_packings(config, out, seed=7, progress=False)
    assert len(rows) == len(log.read_text().splitlines()) == 40
    whole = tmp_path / "whole"
    generate_packings(config, whole, seed=7, progress=False)
    assert (out / "packings.h5").read_bytes() == (whole / "packings.h5").read_bytes()


def test_a_group_cut_short_is_made_again(unbroken, tmp_path):
    content = (unbroken[0] / "packings.h5").read_bytes()
    (tmp_path / "packings.h5").write_bytes(content)
    with h5py.File(tmp_path / "packings.h5", "r+") as file:
        del file["000002/stress"]
        del file["000002"].attrs["complete"]
    rows = generate_packings(CONFIG, tmp_path, seed=7, progress=False)
    assert [row["phi_j"] for row in rows] == [row["phi_j"] for row in unbroken[1]]


@pytest.mark.parametrize(
    ("config", "seed", "words"),
    [
        (CONFIG, 8, "seed 7 there, 8 now"),
        (CONFIG.model_copy(update={"particles": 33}), 7, r"config\.particles 32 there, 33 now"),
        (CONFIG.model_copy(update={"small_fraction": 0.2}), 7, r"config\.small_fraction none there, 0\.2 now"),
    ],
)
def test_a_file_made_with_other_settings_is_refused(unbroken, config, seed, words):
    with pytest.raises(WavesimError, match=words):
        generate_packings(config, unbroken[0], seed, progress=False)


def test_bad_input_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(WavesimError, match="without a small one"):
        generate_packings(PackingsConfig(particles=16, small_fraction=1e-4), tmp_path / "out", 0)
    with pytest.raises(WavesimError, match="workers 0"):
        generate_packings(CONFIG, tmp_path / "out", 0, workers=0)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(WavesimError, match="is a file; give a folder"):
        generate_packings(CONFIG, tmp_path / "file", 0)


def test_a_second_run_at_once_in_the_same_folder_is_refused(tmp_path):
    """Each would give the file's name to a copy of its own. The folder as a whole may be locked by a larger run."""
    with sole_user(tmp_path), sole_user(tmp_path, ".packings.lock"), pytest.raises(WavesimError, match="is at work"):
        generate_packings(CONFIG, tmp_path, 0, progress=False)
    assert not (tmp_path / "packings.h5").exists()


def test_a_damaged_file_is_refused(unbroken, tmp_path):
    content = (unbroken[0] / "packings.h5").read_bytes()
    (tmp_path / "packings.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(WavesimError, match="not a whole HDF5 file"):
        generate_packings(CONFIG, tmp_path, 7, progress=False)


def test_what_does_not_come_to_equilibrium_is_logged_and_never_written(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "Protocol", lambda: Protocol(steps=40, stretch=20))
    config = PackingsConfig(size_ratios=(0.7,), per_ratio=2, particles=32)
    for _ in range(2):  # the second call tries again, and logs each attempt once
        with pytest.raises(
            WavesimError, match=r"2 of 2 packings did not come .* \(000000, 000001; reasons in .* the last: not in mech"
        ):
            generate_packings(config, tmp_path, 0, progress=False)
        failures = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
        assert [(line["name"], line["attempt"]) for line in failures] == [
            (name, attempt) for name in ("000000", "000001") for attempt in range(generate.ATTEMPTS)
        ]
        assert all("not in mechanical equilibrium" in line["reason"] for line in failures)
    with pytest.raises(WavesimError, match="no whole packing"):
        read_packings(tmp_path)


@pytest.mark.parametrize("failure", [NotJammedError, EngineError])
def test_a_failed_attempt_is_followed_by_one_with_another_start(failure, unbroken, monkeypatch):
    """The engine is left out: what is tested is which start each attempt gets."""
    starts = []

    def second_time_lucky(mixture, rng, protocol):
        starts.append(rng.uniform())
        if len(starts) == 1:
            raise failure("as the test wants it")
        return read_packings(unbroken[0])[0]

    monkeypatch.setattr(generate, "jam", second_time_lucky)
    outcome = generate._make(generate._Job(5, Mixture(32, 0.7), 7, Protocol(), {}))
    assert starts == [generator(7, "packings", 5, attempt).uniform() for attempt in (0, 1)]
    assert [failure["reason"] for failure in outcome.failures] == ["as the test wants it"]
    assert outcome.packing is not None and outcome.packing.provenance["attempt"] == 1


def test_a_script_without_a_main_guard_is_told_what_to_change(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom wavesim.config import PackingsConfig\n"
        "from wavesim.granular import generate_packings\n"
        f"generate_packings(PackingsConfig(), Path({str(tmp_path)!r}), 0)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert '__name__ == "__main__"' in done.stderr.splitlines()[-1]
