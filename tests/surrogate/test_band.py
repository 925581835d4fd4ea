"""The band of a forecast: its scale in closed form, its coverage by simulation, and all that it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import exact_shard

from wavesim import calibrate as calibrating
from wavesim.calibrate import calibrate, fitted
from wavesim.config import ForecasterConfig
from wavesim.dataset import WaveDataset, write_shard
from wavesim.errors import WavesimError
from wavesim.media import media_of, waves_of
from wavesim.provenance import generator
from wavesim.surrogate import Forecaster, rollout, save
from wavesim.surrogate.band import Band, band_file, features, load_band
from wavesim.surrogate.coarse import CoarseStep

CELLS, FRAMES, COURANT = 16, 9, 2.0
MEDIA = {"train": 12, "valid": 4, "test": 4}


def speeds(split: str) -> list[float]:
    return generator(0, "speeds", split).uniform(0.8, 1.2, MEDIA[split]).tolist()


def write(root: Path, splits: dict[str, list[float]], frames: int = FRAMES, **about: object) -> Path:
    for seed, (split, own) in enumerate(splits.items()):
        shard = exact_shard(CELLS, frames, COURANT, own, seed)
        write_shard(root / "data" / split / f"{split}.hdf5", replace(shard, about={"config": {}, **about}))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Standing modes in uniform media, 16 of which may calibrate."""
    root = tmp_path_factory.mktemp("band") / "waves"
    return write(root, {split: speeds(split) for split in MEDIA}, config={"preset": "modes", "contrast": 0.2})


def coarse_alone(**settings: object) -> Forecaster:
    # Without conserve_energy it is run by PyTorch, the same that the test compares with.
    shape = {"ranks": (), "substeps": 4, "conserve_energy": False, **settings}
    return Forecaster(ForecasterConfig(**shape), COURANT).eval()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The coarse step with a correction that is wrong, so that there is a defect."""
    torch.manual_seed(0)
    wrong = coarse_alone(ranks=(2,), width=8, encoder_width=8)
    torch.nn.init.normal_(wrong.network.head.weight, std=0.01)  # type: ignore[union-attr]
    return save(wrong, tmp_path_factory.mktemp("models") / "wrong.safetensors", {"data": {"hash": "of another"}})


@pytest.fixture(scope="module")
def band(data: Path, model: Path) -> Band:
    return calibrate(model, data, progress=False)


def forecast(model: Path, split: WaveDataset, index: int) -> np.ndarray:
    """With the initial state, (time + 1, 2, y, x)."""
    from wavesim.surrogate import load

    truth = split.trajectory(index)
    return np.concatenate([truth.state[:1], rollout(load(model), truth)])


def test_the_features_are_those_of_a_mode_in_closed_form() -> None:
    """A cosine of cell centres is an eigenvector of the scheme: a frame is a product of 2 x 2 matrices."""
    kappa, rho, substeps, m, n = 1.7, 0.8, 5, 2, 3
    place = (np.arange(CELLS) + 0.5) / CELLS
    shape = np.outer(np.cos(n * np.pi * place), np.cos(m * np.pi * place))
    laplacian = sum(4 * math.sin(math.pi * k / (2 * CELLS)) ** 2 for k in (m, n))
    stiffness = COURANT**2 * kappa / rho * laplacian
    kick, drift = np.array([[1, 0], [-stiffness / (2 * substeps), 1]]), np.array([[1, 1 / substeps], [0, 1]])
    frame = np.linalg.matrix_power(kick @ drift @ kick, substeps)
    amplitudes = generator(1, "amplitudes").normal(size=(6, 2))
    states = (amplitudes[:, :, None, None] * shape).astype(np.float32)
    medium = np.broadcast_to(np.array([kappa, rho])[:, None, None], (2, CELLS, CELLS)).astype(np.float32)

    apart = amplitudes[1:] - amplitudes[:-1] @ frame.T
    energy = (apart[:, 1] ** 2 + stiffness * apart[:, 0] ** 2) / (2 * kappa) * np.sum(shape**2)
    size = np.linalg.norm(amplitudes[0]) * np.linalg.norm(shape)
    defect = np.sqrt(np.cumsum(energy)) / size
    pressure = np.abs(amplitudes[1:, 0]) * np.linalg.norm(shape) / size
    found = features(CoarseStep(COURANT, substeps), states, medium)
    np.testing.assert_allclose(np.exp(found), np.stack([defect, pressure], axis=-1), rtol=2e-5)


def test_the_band_of_unseen_media_is_exceeded_as_often_as_the_rank_says() -> None:
    """Of 15 media 4 fit the scale and 11 calibrate: k = 11, and the next one is covered with 11/12."""
    random, covered = generator(2, "media"), []
    for _ in range(1500):
        logs = random.normal(size=(16, 2, 2)) * [1.0, 0.5]
        errors = np.exp(logs @ [0.6, -1.0] + 0.3 * random.standard_t(3, size=(16, 2)))
        lines = [{"errors": e.tolist(), "features": f.tolist()} for e, f in zip(errors, logs, strict=True)]
        exponents, quantiles = fitted(lines[:15], 0.9)
        covered.append(errors[15] <= quantiles * np.exp(np.sum(exponents * logs[15], axis=-1)))
    np.testing.assert_allclose(np.mean(covered, axis=0), 11 / 12, atol=4 * math.sqrt(11 / 144 / 1500))


def test_the_exponents_are_those_that_the_errors_were_made_with() -> None:
    """Up to the ridge, a tenth of the features' variance, which these have apart from each other."""
    random = generator(3, "exponents")
    logs = random.normal(size=(2000, 1, 2)) * [1.0, 0.5] + [-3.0, 1.0]
    errors = np.exp(logs @ [0.7, -1.1] + 0.01 * random.normal(size=(2000, 1)))
    lines = [{"errors": e.tolist(), "features": f.tolist()} for e, f in zip(errors, logs, strict=True)]
    exponents, _ = fitted(lines, 0.9)
    np.testing.assert_allclose(exponents[0], np.array([0.7, -1.1]) / 1.1, rtol=0.05)


def test_a_feature_that_is_always_the_same_is_left_out() -> None:
    logs = np.array([[[-3.0, 0.1 * k]] for k in range(20)])
    lines = [{"errors": [math.exp(f[0, 1])], "features": f.tolist()} for f in logs]
    exponents, quantiles = fitted(lines, 0.5)
    assert exponents[0, 0] == 0 and exponents[0, 1] == pytest.approx(1 / 1.1) and np.isfinite(quantiles).all()


def test_what_is_calibrated_is_what_the_media_say(data: Path, model: Path, band: Band) -> None:
    """The first four by their hashes fit, the others calibrate; errors from the files themselves."""
    found = {}
    for name in ("train", "valid"):
        split = WaveDataset(data, name)
        for key, (index,) in media_of(split).items():
            truth, states = split.trajectory(index), forecast(model, split, index)
            squares = np.sum((states[1:, 0].astype(float) - truth.state[1:, 0]) ** 2, axis=(1, 2))
            error = np.sqrt(squares / np.sum(truth.state[1:, 0].astype(float) ** 2, axis=(1, 2)))
            found[key] = error / band.of(states, truth.medium)
    assert sorted(found) == list(band.keys) and (band.media, band.fitted) == (12, 4)
    shares = np.array([found[key] for key in sorted(found)[4:]])
    np.testing.assert_allclose(shares.max(axis=0), 1, rtol=1e-4)  # of 12 the 12th smallest: ceil(13 x 0.9)
    assert band.waves == {"preset": "modes", "contrast": 0.2} and band.trained_on == "of another"
    assert load_band(band_file(model)) == band


def test_frame_by_frame_the_band_is_that_of_the_whole_forecast(data: Path, model: Path, band: Band) -> None:
    test = WaveDataset(data, "test")
    states, medium = forecast(model, test, 0), test.medium(0)
    current, bounds = band.init(states[0], medium), []
    buffer = np.empty_like(states[0])
    for state in states[1:]:
        buffer[:] = state  # as runtimes do, which write each frame over the last but one
        current = band.step(current, buffer)
        bounds.append(current.bound)
    whole = band.of(states, medium)
    assert whole.shape == (FRAMES - 1,) and (whole > 0).all()
    np.testing.assert_allclose(bounds, whole, rtol=1e-12)
    bare = replace(band)
    bare.__dict__["_loops"] = None  # as where there is no compiler
    np.testing.assert_allclose(bare.of(states, medium), whole, rtol=1e-4)
    logs = features(band.coarse, states, medium)
    np.testing.assert_allclose(
        whole, np.array(band.quantiles) * np.exp(np.sum(logs * np.array(band.exponents), axis=-1)), rtol=1e-4
    )
    assert band.step(current, states[-1]).bound is None  # beyond the lead times that were calibrated


def test_a_medium_stiffer_than_all_that_calibrated_has_a_bound_too(tmp_path: Path, model: Path, band: Band) -> None:
    stiff = WaveDataset(write(tmp_path, {"test": [1.9]}), "test")
    states, medium = stiff.trajectory(0).state, stiff.medium(0)
    finer = CoarseStep(COURANT, 6, band.sides)  # its stencil says so
    finer.check(stencil := finer.stencil(torch.from_numpy(medium[None])))
    with pytest.raises(WavesimError, match="takes at least 6"):
        band.coarse.check(stencil)
    logs = features(finer, states, medium)
    expected = np.array(band.quantiles) * np.exp(np.sum(logs * np.array(band.exponents), axis=-1))
    np.testing.assert_allclose(band.of(states, medium), expected, rtol=1e-4)
    np.testing.assert_array_equal(features(band.coarse, states, medium), logs)


def test_the_band_is_the_same_whatever_the_amplitude(data: Path, model: Path, band: Band) -> None:
    test = WaveDataset(data, "test")
    states, medium = forecast(model, test, 1), test.medium(1)
    for scale in (2.0**-12, 2.0**10, -1.0):
        np.testing.assert_allclose(band.of(scale * states, medium), band.of(states, medium), rtol=1e-9)


def test_a_forecaster_that_is_exact_has_a_band_of_zero(tmp_path: Path, data: Path) -> None:
    """The truth is made by the forecaster itself; a frame interval of a power of two, so that no digit is lost."""
    own = coarse_alone()
    root = write(tmp_path / "own", {"train": speeds("train")})
    split = WaveDataset(root, "train")
    shard = exact_shard(CELLS, FRAMES, COURANT, speeds("train"), 0)
    for index in range(len(split)):
        start, medium = split.window(index, 0, 1)[0], split.medium(index)
        states = np.concatenate([start[None], rollout(own, start, medium, FRAMES - 1)])
        shard.pressure[index], shard.pressure_rate[index] = states[:, 0], states[:, 1] / split.frame_interval
    write_shard(root / "data" / "train" / "train.hdf5", shard)
    found = calibrate(save(own, tmp_path / "own.safetensors"), root, progress=False)
    assert found.quantiles == (0.0,) * (FRAMES - 1) and found.trained_on is None
    assert (found.of(forecast(tmp_path / "own.safetensors", split, 0), split.medium(0)) == 0).all()
    # The same forecaster on the exact modes is not exact.
    assert min(calibrate(tmp_path / "own.safetensors", data, progress=False).quantiles) > 0


def test_too_few_media_are_refused_before_anything_runs(tmp_path: Path, model: Path) -> None:
    root = write(tmp_path / "few", {"train": speeds("train")[:11]})
    with pytest.raises(
        WavesimError, match=r"has 11 media .* 8 media are too few .* it takes 9 or more, and 200 or more"
    ):
        calibrate(model, root, out=tmp_path / "band.json", progress=False)
    assert not list(tmp_path.glob("band*"))
    with pytest.raises(WavesimError, match="it takes 99 or more"):
        calibrate(model, write(tmp_path / "more", {"train": speeds("train")}), 0.99, progress=False)
    with pytest.raises(WavesimError, match="level 90 is no probability"):
        calibrate(model, root, 90)


def test_trajectories_through_one_packing_are_one_medium(tmp_path: Path) -> None:
    """Each has a cut of its own, so that their cells differ; of a preset's file each is a medium, twins being one."""
    packing = {"positions": [[0.1, 0.2]], "radii": [0.3], "size_ratio": 0.5, "name": "000001"}
    root = write(tmp_path / "packing", {"train": [0.9, 1.0, 1.1]}, packing=packing)
    (numbers,) = media_of(WaveDataset(root, "train")).values()
    assert numbers == [0, 1, 2] and waves_of(WaveDataset(root, "train")) == {"size_ratios": [0.5]}
    preset = WaveDataset(write(tmp_path / "preset", {"train": [0.9, 1.0, 0.9]}), "train")
    assert sorted(media_of(preset).values()) == [[0, 2], [1]]


def test_data_that_the_model_was_trained_on_are_refused(tmp_path: Path, data: Path) -> None:
    from wavesim.surrogate.data import described

    about = {"data": described(WaveDataset(data, "train"), WaveDataset(data, "valid"))}
    seen = save(coarse_alone(), tmp_path / "seen.safetensors", about)
    with pytest.raises(WavesimError, match=r"was trained and chosen on .* another --seed"):
        calibrate(seen, data, progress=False)
    shares = write(tmp_path / "shares", {"train": speeds("test") * 3, "valid": speeds("valid")[:3]})
    with pytest.raises(WavesimError, match=r"trained or chosen in 3 of the 7 media of .*shares"):
        calibrate(seen, shares, progress=False)
    other = write(tmp_path / "other", {"train": [0.95 * speed for speed in speeds("train")]})
    assert calibrate(seen, other, progress=False).trained_on == about["data"]["hash"]


def test_other_waves_and_other_forecasters_are_refused(tmp_path: Path, data: Path, model: Path, band: Band) -> None:
    test = WaveDataset(data, "test")
    band.require(band.forecaster, test)
    with pytest.raises(WavesimError, match=r"is of the forecaster .* this one is another: calibrate it again"):
        band.require("another", test)
    other = write(tmp_path / "preset", {"test": [1.0]}, config={"preset": "random", "contrast": 0.2, "frames": 3})
    with pytest.raises(WavesimError, match=r"other waves .* \(preset modes there, random now\)"):
        band.require(band.forecaster, WaveDataset(other, "test"))
    fine = tmp_path / "fine"
    write_shard(fine / "data" / "test" / "a.hdf5", exact_shard(32, FRAMES, 2 * COURANT, [1.0], 0))
    with pytest.raises(WavesimError, match=r"grid \[16, 16\] there, \[32, 32\] now, interval in cells 2.0 there, 4.0 "):
        band.require(band.forecaster, WaveDataset(fine, "test"))
    with pytest.raises(WavesimError, match="grid of 16 x 16 cells, the state has 32 x 32"):
        band.init(np.ones((2, 32, 32)), np.ones((2, 32, 32)))
    write_shard(fine / "data" / "train" / "a.hdf5", exact_shard(32, FRAMES, 2 * COURANT, [1.0], 0))
    with pytest.raises(WavesimError, match=r"trained on frames of 2\.000 cells .*, .* has 4\.000"):
        calibrate(model, fine, progress=False)


def test_a_call_that_is_killed_goes_on_where_it_stopped(
    tmp_path: Path, data: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, count, one = tmp_path / "whole.band.json", 0, calibrating._one
    calibrate(model, data, out=whole, progress=False)

    def counted(*arguments):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        return one(*arguments)

    monkeypatch.setattr(calibrating, "_one", counted)
    part = tmp_path / "part.band.json"
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, data, out=part, progress=False)
    assert not part.exists() and len(part.with_suffix(".jsonl").read_text().splitlines()) == 5
    with part.with_suffix(".jsonl").open("a") as log:
        log.write('{"medium": "cut sho')  # as a kill in the middle of a line leaves it
    calibrate(model, data, out=part, progress=False)
    assert count == 6 + 16 - 5 and part.read_bytes() == whole.read_bytes()
    calibrate(model, data, 0.8, out=part, progress=False)
    assert count == 6 + 16 - 5 and json.loads(part.read_text())["level"] == 0.8


def test_other_waves_through_the_same_media_are_forecast_anew(tmp_path: Path, model: Path) -> None:
    out, media = tmp_path / "a.band.json", {"train": speeds("train")}
    first = calibrate(model, write(tmp_path / "one", media), out=out, progress=False)
    shard = exact_shard(CELLS, FRAMES, COURANT, media["train"], 7)  # other modes through the same
    write_shard(tmp_path / "two" / "data" / "train" / "train.hdf5", replace(shard, about={"config": {}}))
    second = calibrate(model, tmp_path / "two", out=out, progress=False)
    fresh = calibrate(model, tmp_path / "two", out=tmp_path / "b.band.json", progress=False)
    assert first.keys == second.keys and first.quantiles != second.quantiles
    assert second.quantiles == fresh.quantiles and second.exponents == fresh.exponents


def test_a_forecaster_that_grows_has_no_band_and_one_medium_in_which_it_does_costs_a_place(
    tmp_path: Path, data: Path
) -> None:
    torch.manual_seed(0)
    growing = coarse_alone(ranks=(2,), width=8, encoder_width=8)
    torch.nn.init.normal_(growing.network.head.weight, std=10.0)  # type: ignore[union-attr]
    with pytest.raises(WavesimError, match="grew without bound in 12 of 12 media: nothing bounds its error"):
        calibrate(save(growing, tmp_path / "growing.safetensors"), data, progress=False)
    lines = [{"errors": [0.1 * (k + 1)], "features": [[0.0, 0.0]]} for k in range(60)]
    lost = [{"errors": [None] if k == 50 else line["errors"], "features": [[0.0, 0.0]]} for k, line in enumerate(lines)]
    scores = sorted([0.1 * (k + 1) for k in range(15, 60) if k != 50] + [math.inf])
    assert fitted(lost, 0.9)[1][0] == pytest.approx(scores[math.ceil(46 * 0.9) - 1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.replace("wavesim band 1", "another"),
        lambda content: content[:-20],
        lambda content: content.replace('"level"', '"lovel"'),
        lambda content: content.replace('"quantiles": [', '"quantiles": [1.0,'),
        lambda content: "[]",
    ],
)
def test_a_file_that_is_no_band_is_refused(tmp_path: Path, model: Path, band: Band, spoil) -> None:  # type: ignore[no-untyped-def]
    broken = tmp_path / "broken.band.json"
    broken.write_text(spoil(band_file(model).read_text()))
    with pytest.raises(WavesimError, match=r"broken\.band\.json is not a band of a model .* calibrate it again"):
        load_band(broken)


def test_the_command_says_what_it_made(tmp_path: Path, data: Path, model: Path, here) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "x.band.json"
    code, said, complaint = here("calibrate", model, "--data", data, "--out", out)
    assert code == 0 and "a band of 0.9 over 8 frames, calibrated on 12 media of" in said
    assert load_band(out).media == 12
    nameless = save(coarse_alone(), tmp_path / "nameless.safetensors")
    assert "does not say what it was trained on" in here("calibrate", nameless, "--data", data)[1]
    code, _, complaint = here("calibrate", model, "--data", tmp_path, "--out", out)
    assert code == 2 and "holds neither a train nor a valid split" in complaint and len(complaint.splitlines()) == 1
