"""`wavesim info` of whatever a user may point it at: what ships, what a run leaves, and what is not ours."""

import json
import shutil
from pathlib import Path

import pytest

from wavesim.errors import WavesimError
from wavesim.granular import storage
from wavesim.info import info_text

DATA = Path(__file__).parents[1] / "data"


def test_a_folder_of_models_is_listed_with_their_costs() -> None:
    first, head, *rows = info_text(DATA / "models" / "demo").splitlines()
    assert "3 forecasters" in first and "validation error" in head
    assert [row.split()[:3] for row in rows] == [
        ["classical", "classical", "34,000"],
        ["compressed", "one-way", "7,024"],
        ["pruned", "one-way", "3,656"],
    ]


def test_a_folder_with_packings_tells_of_them(tmp_path: Path) -> None:
    (tmp_path / "packings.h5").symlink_to(DATA / "sample" / "packings.h5")
    text = info_text(tmp_path)
    assert "48 packings" in text and "phi_j" in text and len(text.splitlines()) == 50


def test_a_folder_of_waves_and_packings_tells_of_both() -> None:
    text = info_text(DATA / "sample")
    assert "waves on 64 x 64 cells, 65 frames" in text and "48 packings" in text


def test_a_file_of_a_dataset_points_to_its_folder() -> None:
    file = next((DATA / "sample" / "data" / "test").glob("*.hdf5"))
    assert "1 x 65 frames on 64 x 64 cells; give the dataset's folder" in info_text(file)


def test_a_path_that_is_not_there_is_not_said_to_be_of_another_kind() -> None:
    with pytest.raises(WavesimError, match=r"nowhere does not exist; give a model, a dataset, .* data/models/demo"):
        info_text("nowhere")


def test_a_folder_above_names_those_in_it() -> None:
    said = r"data is not a model, .* holds none; .* give one: diagram.json, models, sample"
    with pytest.raises(WavesimError, match=said):
        info_text(DATA)


def test_what_is_not_ours_is_told_in_a_line(tmp_path: Path) -> None:
    import h5py

    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["field"] = [1.0]
    (tmp_path / "notes.txt").write_text("")
    for name, message in (("text.h5", "not a whole HDF5"), ("other.h5", "not a model"), ("notes.txt", "not a model")):
        with pytest.raises(WavesimError, match=message) as told:
            info_text(tmp_path / name)
        assert "\n" not in str(told.value)


def test_a_sweep_of_the_jamming_diagram_is_told_finished_or_not(tmp_path: Path) -> None:
    lines = (DATA.parent / "benchmarks" / "results" / "jamming" / "0.73" / "diagram.jsonl").read_text().splitlines()
    (tmp_path / "diagram.jsonl").write_text("\n".join(lines[:5]) + "\n")
    assert info_text(tmp_path).endswith("5 packings measured; call `wavesim generate diagram` to go on")
    (tmp_path / "failed.jsonl").write_text('{"reason": "it came apart"}\n')
    (tmp_path / "diagram.json").write_text((DATA / "diagram.json").read_text())
    mixtures = len(json.loads((DATA / "diagram.json").read_text())["rows"])
    first, second, head, *rows = info_text(tmp_path).splitlines()
    assert "5 packings measured; 1 attempts" in first and f"{mixtures} mixtures" in second and "phi_j" in head
    assert len(rows) == mixtures and info_text(DATA / "diagram.json").splitlines()[2:] == rows
    sweep = DATA.parent / "benchmarks" / "results" / "jamming" / "0.73"
    begun = tmp_path / "begun"  # again, with more seeds: the table is of an earlier call
    begun.mkdir()
    (begun / "diagram.jsonl").write_text((sweep / "diagram.jsonl").read_text() + "\n".join(lines[:1]) + "\n")
    shutil.copy(sweep / "diagram.json", begun / "diagram.json")
    assert ", not all of them in the table; call" in info_text(begun) and "not all" not in info_text(sweep)
    (tmp_path / "diagram.json").write_text("[]")
    assert "5 packings measured" in (told := info_text(tmp_path)) and "is no jamming diagram" in told
    with pytest.raises(WavesimError, match="is no jamming diagram"):
        info_text(tmp_path / "diagram.json")


def test_of_a_folder_with_a_broken_file_the_rest_is_told_and_which_one_it_is(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DATA / "models" / "demo", tmp_path / "models"))
    whole = (folder / "compressed.safetensors").read_bytes()
    (folder / "compressed.safetensors").write_bytes(whole[:3000])
    (folder / "packings.h5").write_bytes((DATA / "sample" / "packings.h5").read_bytes()[:5000])
    lines = info_text(folder).splitlines()
    assert "2 forecasters" in "\n".join(lines)
    broken = [line for line in lines if line.startswith("broken: ")]
    assert [any(name in line for line in broken) for name in ("packings.h5", "compressed.safetensors")] == [True, True]
    assert len(broken) == 2 and "classical" in "\n".join(lines)

    waves = Path(shutil.copytree(DATA / "sample", tmp_path / "waves"))
    (waves / "packings.h5").unlink()
    file = next((waves / "data" / "test").glob("*.hdf5"))
    file.write_bytes(file.read_bytes()[:5000])
    first, *rest = info_text(waves).splitlines()
    assert "waves, " in first and len(rest) == 1 and rest[0].startswith("broken: ") and str(file) in rest[0]


def test_of_what_a_kill_has_left_it_is_told_how_far_it_came_and_how_to_go_on(tmp_path: Path) -> None:
    def folder(name: str, **files: str) -> Path:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file.replace("_", ".")).write_text(text)
        return tmp_path / name

    run = folder("run", config_json="{}", stages_json='{"packings": 3.0}')
    (run / "packings.h5").symlink_to(DATA / "sample" / "packings.h5")
    told = info_text(run)
    assert "finished stages: packings; call `wavesim demo --out" in told and "48 packings" in told
    (run / "results.json").write_text('{"rows": [')
    assert f"broken: {run / 'results.json'}" in info_text(run) and "48 packings" in info_text(run)

    training = folder("training", config_toml="seed = 0", log_txt="begun\niteration 40 of 80: loss 1\n")
    assert info_text(training).endswith("from its last validation\n  iteration 40 of 80: loss 1")
    assert "0 train, 0 valid, 0 test files so far; call" in info_text(folder("waves", settings_json="{}"))
    failed = info_text(folder("failed", failed_jsonl='{"reason": "it came apart"}\n'))
    assert failed.endswith("1 attempts came to no equilibrium, the last: it came apart")
    (folder("pruned") / ".small.pruning").mkdir()
    assert "pruning to small.safetensors is not whole" in info_text(tmp_path / "pruned")
    storage.begin(tmp_path / "none" / "packings.h5", {"seed": 0})
    assert "no packing yet" in info_text(tmp_path / "none")
