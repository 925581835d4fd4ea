"""`wavesim info` of whatever a user may point it at: what ships, what a run leaves, and what is not ours."""

import json
from pathlib import Path

import pytest

from wavesim.errors import WavesimError
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
    with pytest.raises(WavesimError, match=r"data is not a model, .* and holds none; .* give one: models, sample"):
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
    (tmp_path / "diagram.json").write_text("[]")
    with pytest.raises(WavesimError, match="is no jamming diagram"):
        info_text(tmp_path)
