"""Coverage as `wavesim evaluate` tells it: counted by hand, over media, and not at all where it would say nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import exact_shard

from wavesim.config import ForecasterConfig
from wavesim.coverage import Coverage, summary
from wavesim.dataset import WaveDataset, write_shard
from wavesim.errors import WavesimError
from wavesim.media import media_of
from wavesim.metrics import relative_l2
from wavesim.provenance import generator
from wavesim.surrogate import Forecaster, rollout, save
from wavesim.surrogate.band import Band, band_file
from wavesim.surrogate.checkpoint import fingerprint_of
from wavesim.surrogate.conformal import quantiles

SPEEDS = [0.8, 0.9, 1.0, 1.1, 1.2, 0.85, 0.95, 1.05, 1.1, 0.8]  # the last two run through media that were there before
MEDIA, FRAMES = 8, 16
MODEL = Forecaster(ForecasterConfig(ranks=(), substeps=4, conserve_energy=False), 2.0).eval()


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coverage") / "waves"
    shard = exact_shard(16, FRAMES + 1, 2.0, SPEEDS, 3)
    write_shard(root / "data" / "test" / "modes.hdf5", replace(shard, about={"config": {"preset": "modes"}}))
    return root


@pytest.fixture(scope="module")
def errors(waves: Path) -> np.ndarray:
    """(medium, time) of the first trajectory of each medium."""
    test = WaveDataset(waves, "test")
    truths = [test.trajectory(i) for i in range(MEDIA)]
    return np.stack([relative_l2(rollout(MODEL, truth)[:, 0], truth.state[1:, 0]) for truth in truths])


def band_of(bounds: np.ndarray, **changes: object) -> Band:
    """A bound that is the same in every medium."""
    about = {
        "level": 0.9, "quantiles": tuple(bounds.tolist()), "exponents": ((0.0, 0.0),) * len(bounds),
        "media": 12, "fitted": 4, "keys": ("of", "others"), "forecaster": fingerprint_of(MODEL), "trained_on": None,
        "courant": 2.0, "substeps": 4, "sides": ("rigid",) * 4, "grid": (16, 16), "data": "runs/others",
        "waves": {"preset": "modes"},
    }  # fmt: skip
    return Band(**{**about, **changes})  # type: ignore[arg-type]


def test_the_command_counts_over_media_draws_it_and_says_why_where_it_cannot(waves, tmp_path, errors, here) -> None:
    """Five times the same forecaster: without a band, and with four of them."""
    six = np.sort(errors, axis=0)[5] * 1.0001 + 1e-7  # of eight media six or more are below
    seen = ("another", *tuple(media_of(WaveDataset(waves, "test")))[:2])
    bands = {
        "six": band_of(six),
        "short": band_of(np.ones(3)),
        "seen": band_of(np.ones(FRAMES), keys=seen),
        "other": band_of(np.ones(FRAMES), waves={"preset": "random"}),
    }
    for name in ("none", *bands):
        model = save(MODEL, tmp_path / f"{name}.safetensors")
        if name in bands:
            bands[name].save(band_file(model))
    code, said, complaint = here("evaluate", tmp_path, "--data", waves, "--no-ladder")
    assert code == 0, complaint
    results = json.loads((tmp_path / "evaluation" / "results.json").read_text())
    told = {row["name"]: row["band"] for row in results["rows"] if row["kind"] == "forecaster"}

    band, counts = told["six"], (errors <= six).sum(axis=0)
    assert (band["tested"], band["calibrated"], band["seen"], band["data"]) == (MEDIA, 12, 0, "runs/others")
    np.testing.assert_allclose(band["coverage"], counts / MEDIA, atol=1e-5)
    np.testing.assert_allclose(band["bound"], six, rtol=1e-4)
    np.testing.assert_allclose(band["error"], errors.mean(axis=0), rtol=1e-4)
    assert 6 in counts and "| six | 0.9 | 12 | 8 | 0.750 (0.349 to 0.968) |" in said
    assert "Clopper and Pearson's interval of 95 %" in said
    assert told["short"]["coverage"] == [1.0] * 3 and told["short"]["bound"] == [1.0] * 3
    assert told["seen"]["seen"] == 2 and told["seen"]["coverage"] is None and told["seen"]["interval"] is None
    assert "2 of them calibrated it" in said
    assert told["none"] is None and told["other"] is None
    assert "the band of other (the band was calibrated on other waves" in said
    assert "preset random there, modes now" in said
    assert (tmp_path / "evaluation" / "coverage.png").stat().st_size > 10_000
    code, said, _ = here("info", tmp_path / "six.safetensors")
    assert code == 0 and "a band of 0.9 over 16 frames, calibrated on 12 media of runs/others" in said


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"forecaster": "another"}, "band is of the forecaster another"), ({"grid": (32, 32)}, r"grid \[32, 32\] there")],
)
def test_a_band_of_another_forecaster_or_grid_is_not_tested(waves, changes, why) -> None:
    with pytest.raises(WavesimError, match=why):
        Coverage(band_of(np.ones(FRAMES), **changes), MODEL, WaveDataset(waves, "test"))


def test_the_coverage_of_many_media_is_near_the_level() -> None:
    """Errors that are exchangeable with those that calibrated, in ten independent lead times."""
    drawn = generator(4, "errors").lognormal(size=(800, 10))
    bound = quantiles(drawn[:300], 0.9)
    told = summary(band_of(bound), drawn[300:], np.broadcast_to(bound, (500, 10)))
    deviation = math.sqrt(0.09 / 300 + 0.09 / 500)  # of one lead time, by calibration and by test
    assert abs(np.mean(told["coverage"]) - 0.9) < 4 * deviation / math.sqrt(10)
    assert np.std(told["coverage"]) < 2.5 * deviation
