"""What settings are taken, what is refused, and with which words."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import wavesim
from wavesim.config import PackingsConfig, RunConfig, TrainingConfig, WavesConfig, as_toml, load, parse
from wavesim.errors import WavesimError
from wavesim.surrogate.coarse import CoarseStep

WHOLE = """
[packings]
size_ratios = [0.5, 0.25]
particles = 100
small_fraction = 0.3

[waves]
grid = 32
frame_interval = 0.05
time_order = 2

[forecaster]
convolution = "classical"
kernel_size = 7
ranks = [8, 8]

[training]
unrolls = [1, 4]
shares = [0.5, 0.5]

[pruning]
p = 0.25
q = 2
restart = "rewind"
"""


def refused(content: dict) -> str:
    with pytest.raises(WavesimError) as raised:
        parse(content, RunConfig, "run.toml")
    return str(raised.value)


def test_settings_survive_the_round_trip_through_toml_and_json(tmp_path):
    (tmp_path / "run.toml").write_text(WHOLE)
    run = load(tmp_path / "run.toml")
    assert run.packings.size_ratios == (0.5, 0.25) and run.packings.small_fraction == 0.3
    assert run.waves == WavesConfig(grid=32, frame_interval=0.05, time_order=2)
    assert run.pruning.q == 2.0 and run.forecaster.ranks == (8, 8)
    assert parse(run.model_dump(), RunConfig, "dict") == run
    assert parse(json.loads(json.dumps(run.model_dump())), RunConfig, "artefact") == run


def test_what_a_file_does_not_name_keeps_its_default(tmp_path):
    (tmp_path / "run.toml").write_text("[waves]\ngrid = 48\n")
    run = load(tmp_path / "run.toml")
    assert run.waves == WavesConfig().model_copy(update={"grid": 48})
    assert run.model_copy(update={"waves": WavesConfig()}) == RunConfig()


def test_a_whole_number_is_taken_where_a_fraction_may_stand(tmp_path):
    (tmp_path / "run.toml").write_text("[waves]\ndensity = 5\n[packings]\nsize_ratios = [1]\n")
    run = load(tmp_path / "run.toml")
    assert run.waves.density == 5.0 and run.packings.size_ratios == (1.0,) and type(run.waves.density) is float


def test_one_stage_can_be_loaded_alone(tmp_path):
    (tmp_path / "packings.toml").write_text("per_ratio = 3")
    assert load(tmp_path / "packings.toml", PackingsConfig) == PackingsConfig(per_ratio=3)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        WavesConfig().grid = 32  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"waves": {"frame_intervall": 0.1}}, "unknown key 'waves.frame_intervall'; did you mean 'frame_interval'?"),
        ({"training": {"unroll": [1]}}, "unknown key 'training.unroll'; did you mean 'unrolls'?"),
        ({"wave": {}}, "unknown key 'wave'; did you mean 'waves'?"),
        ({"pruning": {"zzz": 1}}, "unknown key 'pruning.zzz'; valid keys: method, scope, density, share, p, q,"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(content, words):
    message = refused(content)
    assert message.startswith("run.toml: ") and words in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"forecaster": {"kernel_size": 4}}, "forecaster: kernel_size 4 is even"),
        ({"pruning": {"p": 1.0, "q": 1.0}}, "pruning: p 1.0 must be below q 1.0"),
        ({"pruning": {"p": 2.0}}, "pruning: p 2.0 must be below q 1.0"),
        ({"training": {"unrolls": [1, 2]}}, "training: 2 unrolls but 4 shares: give one share for each unroll"),
        ({"training": {"unrolls": [], "shares": []}}, "training.unrolls: "),
        ({"waves": {"frames": 8}}, "training.unrolls of up to 8 frames take at least 9 frames, and waves.frames is 8"),
        ({"packings": {"per_ratio": 2}}, "packings.per_ratio 2 leaves a split without a packing"),
        ({"waves": {"pulse_width": 1 / 6}}, "leaves no place three widths from the walls; use one below 1/6"),
        ({"forecaster": {"substeps": 5}}, "forecaster.substeps 5 is unstable where a wave crosses 4 cells a frame"),
        ({"waves": {"grid": 96}}, "it takes at least 9, or 0 for the network alone"),
        ({"waves": {"bulk_modulus": 1, "density": 9, "frame_interval": 0.1}}, "crosses 6.4 cells a frame"),
        ({"forecaster": {"ranks": [], "substeps": 0}}, "ranks is empty and substeps is 0"),
        ({"pruning": {"scope": "global"}}, "'global' means nothing to structured-sap; set scope = 'layer', or method"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(content, words):
    assert words in refused(content)


@pytest.mark.parametrize(
    "content",
    [
        {"waves": {"frames": 9, "pulse_width": 0.166}, "packings": {"per_ratio": 3}},
        {"waves": {"grid": 96}, "forecaster": {"substeps": 9}},
        {"waves": {"grid": 96}, "forecaster": {"substeps": 0}},
        {"forecaster": {"ranks": []}},
        {"pruning": {"method": "sap", "scope": "global"}},
    ],
)
def test_settings_at_the_edge_of_what_fits_are_taken(content):
    assert isinstance(parse(content, RunConfig, "run.toml"), RunConfig)


@pytest.mark.parametrize(("bulk_modulus", "density", "grid"), [(20, 5, 64), (30, 2, 32), (9, 1, 48), (1, 1, 80)])
def test_the_fewest_substeps_are_those_that_the_coarse_step_takes_in_a_grain(bulk_modulus, density, grid):
    waves = {"grid": grid, "bulk_modulus": bulk_modulus, "density": density}
    medium = torch.tensor([bulk_modulus, density], dtype=torch.float)[None, :, None, None].expand(1, 2, 8, 8)

    def is_taken(attempt) -> bool:
        try:
            attempt()
        except WavesimError:
            return False
        return True

    for substeps in range(1, 15):
        coarse = CoarseStep(grid / 32, substeps)
        content = {"waves": waves, "forecaster": {"substeps": substeps}}
        by_coarse_step = is_taken(lambda coarse=coarse: coarse.check(coarse.stencil(medium)))
        assert is_taken(lambda content=content: parse(content, RunConfig, "run.toml")) == by_coarse_step


@pytest.mark.parametrize("preset", sorted(Path(wavesim.__file__).parent.glob("presets/*.toml")))
def test_every_preset_can_be_run(preset):
    assert load(preset) != RunConfig()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, -1.0])
@pytest.mark.parametrize(
    ("stage", "key"), [("waves", "frame_interval"), ("waves", "bulk_modulus"), ("training", "learning_rate")]
)
def test_numbers_must_be_finite_and_positive(stage, key, value):
    message = refused({stage: {key: value}})
    assert f"{stage}.{key}: Input should be" in message and f"got {value!r}" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"waves": {"grid": 8}}, "waves.grid: Input should be greater than or equal to 16 (got 8)"),
        ({"waves": {"grid": 64.5}}, "waves.grid: Input should be a valid integer"),
        ({"waves": {"time_order": 3}}, "waves.time_order: Input should be 2 or 4 (got 3)"),
        ({"waves": {"frames": 1}}, "waves.frames: "),
        ({"waves": {"valid_share": 0.5}}, "waves.valid_share: "),
        ({"waves": {"radius_scale": 1.1}}, "waves.radius_scale: "),
        ({"packings": {"size_ratios": [0.5, 2.0]}}, "packings.size_ratios.1: Input should be less than or equal to 1"),
        ({"packings": {"small_fraction": float("nan")}}, "packings.small_fraction: "),
        ({"forecaster": {"convolution": "dense"}}, "forecaster.convolution: Input should be 'classical', 'one-way', "),
        ({"forecaster": {"ranks": [8, 0]}}, "forecaster.ranks.1: "),
        ({"pruning": {"beta": 1.5}}, "pruning.beta: "),
        ({"waves": 64}, "waves: "),
        ({"waves": {"grid": "64"}}, "waves.grid: Input should be a valid integer (got '64')"),
        ({"waves": {"grid": 64.0}}, "waves.grid: Input should be a valid integer (got 64.0)"),
        ({"waves": {"frames": True}}, "waves.frames: Input should be a valid integer (got True)"),
        ({"waves": {"gzip": 1}}, "waves.gzip: Input should be a valid boolean (got 1)"),
        ({"waves": {"density": "5"}}, "waves.density: Input should be a valid number (got '5')"),
        ({"waves": {"density": datetime.date(2026, 1, 1)}}, "waves.density: Input should be a valid number"),
        ({"training": {"unrolls": "1248"}}, "training.unrolls: Input should be a valid array (got '1248')"),
    ],
)
def test_a_value_out_of_range_is_told_with_its_place(content, words):
    assert words in refused(content)


@pytest.mark.parametrize(
    "text", ["[waves\ngrid = 64", "grid: 64\n", "waves = nothing", "[waves]\ngrid = 64\ngrid = 32\n"]
)
def test_a_file_that_is_not_toml_is_told(tmp_path, text):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(WavesimError, match=r"run\.toml is not TOML: .*line"):
        load(tmp_path / "run.toml")


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(WavesimError, match="is not TOML"):
        load(tmp_path / "run.toml")


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(WavesimError, match=r"none\.toml does not exist"):
        load(tmp_path / "none.toml")
    with pytest.raises(WavesimError, match="cannot be read: Is a directory; give the path of a TOML file"):
        load(tmp_path)


def test_not_a_number_in_a_file_is_told(tmp_path):
    (tmp_path / "run.toml").write_text("[waves]\ndensity = nan\n")
    with pytest.raises(WavesimError, match=r"waves\.density: Input should be a finite number"):
        load(tmp_path / "run.toml")


@pytest.mark.parametrize("stage", list(RunConfig.model_fields))
def test_every_setting_says_what_it_is(stage):
    for name, field in RunConfig.model_fields[stage].annotation.model_fields.items():
        assert field.description, f"{stage}.{name}"


def test_the_default_stages_fill_the_training():
    training = TrainingConfig()
    assert sum(training.shares) == pytest.approx(1)
    assert max(training.unrolls) < WavesConfig().frames


def test_printed_settings_read_back_as_they_were(tmp_path):
    changed = RunConfig.model_validate({"packings": {"small_fraction": 0.3}, "forecaster": {"ranks": [8]}})
    for number, settings in enumerate((RunConfig(), changed)):
        path = tmp_path / f"{number}.toml"
        path.write_text(as_toml(settings))
        assert load(path) == settings
