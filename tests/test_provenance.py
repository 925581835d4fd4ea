"""Seeds that mean the same everywhere, hashes, and files that are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import pytest
from safetensors import SafetensorError

from wavesim import provenance
from wavesim.errors import WavesimError, missing_engine
from wavesim.provenance import (
    discard_parts,
    file_hash,
    generator,
    log_lines,
    read_lines,
    revision,
    settings_hash,
    versions,
    whole_file,
    write_json,
    write_lines,
)


@pytest.mark.parametrize(
    ("seed", "key", "words"),
    [  # raw words of PCG64, which numpy promises never to change for a seed sequence
        (0, ("waves", 3), [15953553700324550827, 4950293055283285987, 10033179887743122342]),
        (2026, ("packings",), [8662421050575539781, 5492257326095269197, 4780839047283609150]),
    ],
)
def test_a_generator_draws_the_same_words_on_every_machine(seed, key, words):
    assert generator(seed, *key).bit_generator.random_raw(3).tolist() == words


def test_a_generator_depends_on_seed_and_key_alone():
    alone = generator(5, "waves", 7).random(4).tolist()
    for index in range(7):
        generator(5, "waves", index).random(100)
    assert generator(5, "waves", 7).random(4).tolist() == alone
    others = [generator(6, "waves", 7), generator(5, "waves", 8), generator(5, "packings", 7), generator(5, "waves")]
    assert all(other.random(4).tolist() != alone for other in others)


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "result.json"
    with whole_file(path) as part:
        part.write_text("first")
        assert not path.exists() and part.suffix == ".json" and part.parent.parent == path.parent
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass  # nothing was written, so there is nothing to put in place
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_at_once_under_those_who_read_it(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with open(path) as reader:
        with whole_file(path) as part:
            part.write_text("new")
            assert path.read_text() == "old"
        assert reader.read() == "old" and path.read_text() == "new"


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    write_json(tmp_path / "whole.json", {})
    assert (tmp_path / "whole.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    "error",
    [  # what h5py, safetensors and plain files raise on a full disk
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError("Unable to write (errno = 28, error message = 'No space left on device')"),
        RuntimeError("Can't decrement id ref count (errno = 28, error message = 'No space left on device')"),
    ],
)
def test_a_full_disk_is_told_as_such_however_it_is_reported(tmp_path, error):
    with pytest.raises(WavesimError, match=r"the disk is full: .*result\.hdf5 was not written; free some space"):
        with whole_file(tmp_path / "result.hdf5") as part:
            part.write_text("half")
            raise error
    assert list(tmp_path.iterdir()) == []


DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.mark.parametrize(
    "error",
    [  # what torch.save and ffmpeg raise on a full disk
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        OSError(errno.EPIPE, "Broken pipe"),
    ],
)
@pytest.mark.parametrize(("total", "free", "full"), [(10**9, 0, True), (10**9, 10**8, False), (0, 0, False)])
def test_where_a_writer_gives_no_reason_the_disk_is_asked_before_its_file_goes(
    tmp_path, monkeypatch, error, total, free, full
):
    def disk_usage(folder):
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["result.mp4"]
        return DiskUsage(total, total - free, free)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    with pytest.raises(WavesimError if full else type(error), match="the disk is full" if full else None) as raised:
        with whole_file(tmp_path / "result.mp4") as part:
            part.write_text("half")
            raise error
    assert (raised.value is error) != full and list(tmp_path.iterdir()) == []


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(WavesimError, match=r"^no room$"), whole_file(tmp_path / "result.json"):
        raise WavesimError("no room")
    with pytest.raises(PermissionError), whole_file(tmp_path / "result.json"):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(RuntimeError, match="unstable"), whole_file(tmp_path / "result.json"):
        raise RuntimeError("unstable")


def test_what_a_kill_leaves_behind_passes_for_no_result(tmp_path):
    program = (
        "import os, signal, sys\nfrom wavesim.provenance import whole_file\n"
        "with whole_file(sys.argv[1]) as part:\n"
        "    part.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "shard.hdf5"
    killed = subprocess.run([sys.executable, "-c", program, str(path)], timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("*.hdf5")) == [] and len(list(tmp_path.iterdir())) == 1
    discard_parts(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with whole_file(path) as part:
        part.write_text("whole")
    assert list(tmp_path.glob("*.hdf5")) == [path]


def test_files_of_others_are_not_taken_for_parts(tmp_path):
    (tmp_path / ".download.part").write_text("of another program")
    discard_parts(tmp_path)
    assert (tmp_path / ".download.part").exists()


def test_the_lines_of_an_owner_are_replaced_and_those_of_others_stay(tmp_path):
    path = tmp_path / "run.jsonl"
    assert read_lines(path) == []
    log_lines(path, [{"try": 0}, {"try": 1}], name="a")
    log_lines(path, [{"try": 0}], name="b")
    log_lines(path, [{"try": 2}], name="a")
    assert read_lines(path) == [{"name": "b", "try": 0}, {"name": "a", "try": 2}]
    log_lines(path, [], name="b")
    assert path.read_text() == '{"name": "a", "try": 2}\n'


@pytest.mark.parametrize("torn", [b'{"name": "b", "sec', b"\x00\x00\x00", b'{"name": "\xc3'])
def test_a_last_line_that_a_kill_cut_short_is_left_out_and_written_over(tmp_path, torn):
    path = tmp_path / "run.jsonl"
    write_lines(path, [{"name": "a"}])
    path.write_bytes(path.read_bytes() + torn)
    assert read_lines(path) == [{"name": "a"}]
    log_lines(path, [{}], name="c")
    assert path.read_text() == '{"name": "a"}\n{"name": "c"}\n'


def test_a_broken_line_among_others_is_named(tmp_path):
    (tmp_path / "run.jsonl").write_text('{"name": "a"}\n{"name": "b\n{"name": "c"}\n')
    with pytest.raises(WavesimError, match=r"run\.jsonl: line 2 is not JSON .* remove that line"):
        read_lines(tmp_path / "run.jsonl")


def test_json_is_written_with_sorted_keys_and_read_back(tmp_path):
    content = {"b": [1, 2.5, None], "a": {"x": "y"}}
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text()) == content
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["a", "b"]
    with pytest.raises(TypeError):
        write_json(tmp_path / "b.json", {"a": object()})
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_hash_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_hash(tmp_path / "abc") == expected
    large = os.urandom(3_000_001)
    (tmp_path / "large").write_bytes(large)
    assert file_hash(str(tmp_path / "large")) == hashlib.sha256(large).hexdigest()


def test_the_hash_of_settings_sees_values_and_not_their_order():
    settings = {"grid": 64, "ranks": [4, 8], "pulse": {"width": 0.05}}
    turned = {"pulse": {"width": 0.05}, "ranks": [4, 8], "grid": 64}
    assert settings_hash(settings) == settings_hash(turned)
    assert re.fullmatch("[0-9a-f]{12}", settings_hash(settings))
    assert settings_hash({**settings, "ranks": [8, 4]}) != settings_hash(settings)


def test_versions_leave_out_what_is_not_installed():
    found = versions("h5py", "a-package-that-nobody-installed")
    assert {"numpy", "h5py"} <= set(found) <= {"wavesim", "numpy", "h5py"}


def test_the_revision_tells_of_changed_sources_and_not_of_what_a_study_writes(tmp_path, monkeypatch):
    source, results = tmp_path / "wavesim" / "provenance.py", tmp_path / "benchmarks" / "results" / "runs.jsonl"
    for file in (source, results):
        file.parent.mkdir(parents=True)
        file.write_text("1\n")
    monkeypatch.setattr(provenance, "__file__", str(source))
    assert revision() is None
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    whole = revision()
    results.write_text("2\n")
    assert whole is not None and re.fullmatch("[0-9a-f]{12,40}", whole) and revision() == whole
    source.write_text("2\n")
    assert revision() == f"{whole}+"


def test_the_revision_is_a_commit_or_nothing():
    assert revision() is None or re.fullmatch(r"[0-9a-f]{12,40}\+?", revision() or "")


@pytest.mark.parametrize(("extra", "remedy"), [("fem", "make setup"), ("granular", "pip install 'wavesim[granular]'")])
def test_a_missing_engine_comes_with_its_remedy(extra, remedy):
    message = str(missing_engine("engine", "making the truth", extra))
    assert message.startswith("engine is not installed, and making the truth needs it: ") and remedy in message
