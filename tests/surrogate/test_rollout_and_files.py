from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from wavesim.config import ForecasterConfig
from wavesim.dataset import Trajectory
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, init, load, rollout, save, step
from wavesim.surrogate.checkpoint import read_header
from wavesim.surrogate.loops import CompiledForecaster
from wavesim.surrogate.rollout import UnboundedError


def forecaster(**settings: object) -> Forecaster:
    torch.manual_seed(0)
    shape = {"width": 8, "ranks": (4, 8), "encoder_width": 8, **settings}
    model = Forecaster(ForecasterConfig(**shape), 2.0)  # type: ignore[arg-type]
    torch.nn.init.normal_(model.network.head.weight, std=0.02)
    return model.eval()


def fields(batch: int, cells: tuple[int, int] = (16, 20)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return rng.normal(size=(batch, 2, *cells)).astype("f"), rng.uniform(1, 2, size=(batch, 2, *cells)).astype("f")


def test_a_batch_forecasts_each_of_its_members_alone() -> None:
    model, (states, media) = forecaster(), fields(3)
    together = rollout(model, states, media, 5)
    assert together.shape == (3, 5, 2, 16, 20) and together.dtype == np.float32
    for k in range(3):
        np.testing.assert_allclose(rollout(model, states[k], media[k], 5), together[k], atol=1e-5)


def test_one_medium_serves_a_whole_batch() -> None:
    model, (states, media) = forecaster(), fields(3)
    together = rollout(model, states, media[:1], 2)
    np.testing.assert_allclose(rollout(model, states[2], media[0], 2), together[2], atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s, m: (s[:, :1], m), "expected"),
        (lambda s, m: (s, m[..., :-1]), "share grid"),
        (lambda s, m: (s * np.nan, m), "not finite"),
        (lambda s, m: (s, -m), "positive"),
        (lambda s, m: (s, m * np.array([100.0, 1.0], "f")[:, None, None]), "substeps 6 is unstable"),
        (lambda s, m: (s[..., :1, :1], m[..., :1, :1]), "too small"),
    ],
)
def test_what_cannot_be_forecast_is_refused_in_one_sentence(spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(WavesimError, match=message):
        init(forecaster(), *spoil(*fields(2)))


def of_interval(frame_interval: float) -> Trajectory:
    """Five frames on 16 x 20 cells of 0.05."""
    (state,), (medium,) = fields(1)
    about: dict[str, object] = {}
    return Trajectory(np.stack([state] * 5), medium, frame_interval, "mine:0", about, lengths=(1.0, 0.8))


def test_a_trajectory_of_another_frame_interval_is_refused_and_one_of_the_same_is_forecast(tmp_path: Path) -> None:
    model = forecaster()  # of two cells a frame
    same = of_interval(0.1)
    np.testing.assert_array_equal(rollout(model, same), rollout(model, same.state[0], same.medium, 4))
    assert rollout(model, same, frames=2).shape == (2, 2, 16, 20)
    export_onnx(model, tmp_path / "model", (16, 20))
    for stepper in (model, OnnxForecaster(tmp_path / "model")):
        with pytest.raises(WavesimError, match=r"frames of 2\.000 cells .* mine:0 has 1\.000: .* frame_interval 0\.1$"):
            rollout(stepper, of_interval(0.05))
    with pytest.raises(WavesimError, match="a bare state says no medium"):
        rollout(model, same.state[0])


def test_a_trajectory_between_other_sides_is_refused(tmp_path: Path) -> None:
    model, same = forecaster(), of_interval(0.1)
    export_onnx(model, tmp_path / "model", (16, 20))
    for stepper in (model, OnnxForecaster(tmp_path / "model"), CompiledForecaster(model)):
        rollout(stepper, replace(same, sides=("rigid",) * 4), frames=1)
        with pytest.raises(
            WavesimError, match=r"mine:0 runs between the sides rigid, rigid, soft, rigid .*for rigid, "
        ):
            rollout(stepper, replace(same, sides=("rigid", "rigid", "soft", "rigid")), frames=1)


def test_a_forecast_without_frames_is_refused() -> None:
    with pytest.raises(WavesimError, match="frames is 0: a forecast has 1 or more"):
        rollout(forecaster(), *fields(1), 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_a_forecaster_on_a_graphics_card_rolls_out_there() -> None:
    states, media = fields(2)
    found = rollout(forecaster().cuda(), states, media, 3)
    np.testing.assert_allclose(found, rollout(forecaster(), states, media, 3), atol=1e-3)


def test_a_rollout_that_grows_without_bound_is_stopped_and_named_with_its_frame() -> None:
    states, media = fields(2)
    model = Forecaster(ForecasterConfig(ranks=(), conserve_energy=False), 2.0)
    growth = torch.tensor([1.0, 2.0])[:, None, None, None]  # the second doubles each frame, the first stays
    model.coarse.forward = lambda state, *_: growth * state  # type: ignore[method-assign]
    assert rollout(model, states, media, 9).shape == (2, 9, 2, 16, 20)  # 512 times as large
    with pytest.raises(UnboundedError, match="at frame 10 ") as told:
        rollout(model, states, media, 10_000_000)
    assert (told.value.frame, told.value.member) == (10, 1)


def test_a_forecast_that_is_not_a_number_has_grown_without_bound() -> None:
    model = Forecaster(ForecasterConfig(ranks=(), conserve_energy=False), 2.0)
    model.coarse.forward = lambda state, *_: torch.nan * state  # type: ignore[method-assign]
    with pytest.raises(UnboundedError, match="at frame 1 "):
        rollout(model, *fields(1), 60)


def test_a_file_rebuilds_the_same_forecaster(tmp_path: Path) -> None:
    model = forecaster(ranks=(3, 5, 2), kernel_size=3)
    path = save(model, tmp_path / "m.safetensors", {"seed": 3})
    again = load(path)
    assert again.config == model.config and again.courant == model.courant
    np.testing.assert_array_equal(rollout(again, *fields(1), 3), rollout(model, *fields(1), 3))


def test_files_that_are_not_a_whole_forecaster_are_refused(tmp_path: Path) -> None:
    path = save(forecaster(), tmp_path / "m.safetensors")
    with pytest.raises(WavesimError, match="does not exist"):
        load(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WavesimError, match="not a whole safetensors file"):
        load(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, foreign)
    with pytest.raises(WavesimError, match="not of a wavesim forecaster"):
        load(foreign)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = file.metadata()
    weights = load_file(path)
    for change, message in (
        ({"stem.weight": torch.zeros(4, 4, 1, 1)}, "stem.weight has shape"),
        ({"stem.weight": weights["stem.weight"] * torch.nan}, "not finite"),
    ):
        save_file({**weights, **change}, foreign, metadata=header)
        with pytest.raises(WavesimError, match=message):
            load(foreign)


def test_the_same_forecaster_gives_the_same_bytes(tmp_path: Path) -> None:
    """safetensors itself writes metadata in the order of a hash map, another one each time."""
    from safetensors import safe_open

    model, about = forecaster(), {"seed": 3, "made by": "Größe 10 Ω"}
    contents = {save(model, tmp_path / f"{k}.safetensors", about).read_bytes() for k in range(8)}
    assert len(contents) == 1
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        header = file.metadata()
    save_file(model.network.state_dict(), tmp_path / "plain.safetensors", metadata=header)
    assert (tmp_path / "plain.safetensors").stat().st_size == (tmp_path / "0.safetensors").stat().st_size
    assert read_header(tmp_path / "0.safetensors")["about"].items() >= about.items()


def test_a_forecaster_that_can_blow_up_is_refused_before_a_graph_is_written(tmp_path: Path) -> None:
    with pytest.raises(WavesimError, match="only forecasters with conserve_energy"):
        export_onnx(forecaster(conserve_energy=False), tmp_path / "m", (16, 20))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", ["one-way", "classical"])
def test_onnx_runtime_forecasts_the_same(tmp_path: Path, family: str) -> None:
    model, (states, media) = forecaster(convolution=family), fields(1)
    export_onnx(model, tmp_path / "m", (16, 20))
    exported = OnnxForecaster(tmp_path / "m")
    np.testing.assert_allclose(rollout(exported, states, media, 8), rollout(model, states, media, 8), atol=2e-5)
    assert step(exported, init(exported, states[0], media[0])).frame == 1
    with pytest.raises(WavesimError, match="exported for"):
        init(exported, *fields(2))
    with pytest.raises(WavesimError, match="substeps 6 is unstable in this medium; it takes at least"):
        init(exported, states, media * np.array([100.0, 1.0], "f")[:, None, None])
    with pytest.raises(WavesimError, match="does not exist"):
        OnnxForecaster(tmp_path / "other")


def test_one_medium_serves_an_exported_batch_and_the_export_changes_nothing(tmp_path: Path) -> None:
    model, (states, media) = forecaster(), fields(3)
    export_onnx(model.train(), tmp_path / "m", (16, 20), batch=3)
    assert model.training
    found = rollout(OnnxForecaster(tmp_path / "m"), states, media[:1], 2)
    np.testing.assert_allclose(found, rollout(model, states, media[:1], 2), atol=2e-5)
