"""Options of the loss and of the weights that are kept: pushforward, running mean, half precision; kills with all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from conftest import exact_shard
from torch import nn

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import WaveDataset, write_shard
from wavesim.surrogate import Forecaster, load, train, unrolled
from wavesim.surrogate.averaging import Averaged
from wavesim.surrogate.coarse import CoarseStep
from wavesim.surrogate.data import validation_batch
from wavesim.surrogate.train import fit, untrained
from wavesim.surrogate.unrolled import Unrolled, rollout_error, size_of_kernels

SMALL = ForecasterConfig(width=8, ranks=(4, 4), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4)
SHORT = TrainingConfig(unrolls=(1, 3), shares=(0.5, 0.5), iterations=12, batch=2, validate_every=5)
ALL = SHORT.model_copy(update={"noise": 0.02, "ema": 0.8, "precision": "bfloat16", "loss_frames": 1})


def module_and_batch(modes: Path, **settings: Any) -> tuple[Unrolled, torch.Tensor, torch.Tensor]:
    """A training module whose network does something, states (batch, time, 2, y, x) and media."""
    config = TrainingConfig(**{"unrolls": (4,), "shares": (1.0,), **settings})
    states, media = validation_batch(WaveDataset(modes, "train"))
    module = Unrolled(untrained(SMALL, 2.0, 1), config, (states, media))
    with torch.no_grad():
        head(module.model).normal_(std=0.02, generator=torch.Generator().manual_seed(2))
    return module, states[:2, :5].clone(), media[:2]


def head(model: nn.Module) -> torch.Tensor:
    """The weights of the network's last layer."""
    return next(p for name, p in model.named_parameters() if name.endswith("head.weight"))


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_with_pushforward_no_gradient_reaches_the_frames_that_are_given(modes: Path) -> None:
    for frames, reached in ((1, False), (3, False), (4, True), (9, True), (None, True)):
        module, states, media = module_and_batch(modes, loss_frames=frames)
        states.requires_grad_()
        module.training_step((states, media), 0).backward()
        first = states.grad[:, 0].abs().max()
        assert (first > 0) == reached, frames
        for frame in range(1, 5):  # the truth counts in the loss's frames, and in no other
            assert (states.grad[:, frame].abs().max() > 0) == (frame > 4 - (frames or 4)), (frames, frame)


def test_pushforward_is_the_loss_of_the_last_frames_from_a_given_state(modes: Path) -> None:
    module, states, media = module_and_batch(modes, loss_frames=2)
    loss = module.training_step((states, media), 0)
    loss.backward()
    with torch.no_grad():
        given = module.model(module.model(states[:, 0], module.model.encode(media)), module.model.encode(media))
    other, _, _ = module_and_batch(modes, unrolls=(2,))
    wanted = other.training_step((torch.cat((given[:, None], states[:, 3:]), dim=1), media), 0)
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    torch.testing.assert_close(gradients(module), gradients(other), rtol=1e-5, atol=1e-9)


class Known(nn.Module):
    """A layer that knows the size of its dense kernel, an outer product u v."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0, -1.0, 0.5]))

    def frobenius(self) -> torch.Tensor:
        return torch.outer(self.u, self.v).square().sum()


def test_decay_is_that_of_the_product_and_no_part_of_the_curve(modes: Path) -> None:
    module, states, media = module_and_batch(modes, weight_decay=0.3)
    module.model.known = Known()
    plain, _, _ = module_and_batch(modes)
    whole = size_of_kernels(module.model)
    assert whole.item() >= 51.25  # |u|^2 |v|^2 = 5 * 10.25, and what the other layers know
    loss, wanted = (one.training_step((states, media), 0) for one in (module, plain))
    assert loss.item() == pytest.approx(wanted.item() + 0.3 * whole.item(), rel=1e-5)
    loss.backward()
    torch.testing.assert_close(module.model.known.u.grad, 0.3 * 2 * 10.25 * torch.tensor([1.0, 2.0]))
    assert module.losses == plain.losses


def test_the_running_mean_is_its_closed_form() -> None:
    layer, decay = nn.Linear(3, 2), 0.7
    drawn = [torch.randn(2, 3, generator=torch.Generator().manual_seed(k)) for k in range(6)]
    with torch.no_grad():
        layer.weight.copy_(drawn[0])
    averaged = Averaged(layer, decay)
    for weight in drawn[1:]:
        with torch.no_grad():
            layer.weight.copy_(weight)
        averaged.update()
    wanted = decay**5 * drawn[0] + sum((1 - decay) * decay ** (5 - k) * drawn[k] for k in range(1, 6))
    with averaged.in_place():
        torch.testing.assert_close(layer.weight.detach(), wanted)
    assert torch.equal(layer.weight, drawn[5])


class Weights(lightning.Callback):
    """Notes the head's weight before the first step and after every one."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.seen.append(head(module.model).detach().clone())

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.seen.append(head(module.model).detach().clone())


def test_the_mean_of_the_weights_is_what_is_validated_and_kept(modes: Path, tmp_path: Path) -> None:
    config = SHORT.model_copy(update={"ema": 0.8, "iterations": 5})  # one validation, at the end
    model, note = untrained(SMALL, 2.0, 0), Weights()
    history = fit(model, modes, config, 0, tmp_path, callbacks=[note]).history
    wanted = 0.8**5 * note.seen[0] + sum(0.2 * 0.8 ** (5 - k) * note.seen[k] for k in range(1, 6))
    torch.testing.assert_close(head(model).detach(), wanted)
    assert not torch.allclose(wanted, note.seen[5], rtol=0.05)
    valid = validation_batch(WaveDataset(modes, "valid"))
    assert history[-1]["validation_error"] == pytest.approx(rollout_error(model, *valid), rel=1e-6)


def test_the_weights_kept_are_the_best_on_validation_data_of_the_last_stage(modes, tmp_path, monkeypatch) -> None:
    """Not the last ones, and none of an earlier stage, however good."""
    config = SHORT.model_copy(update={"iterations": 12, "validate_every": 2})  # unrolls of 3 from the seventh on
    errors, seen = [0.1, 0.05, 0.2, 0.6, 0.4, 0.5], list[torch.Tensor]()

    def told(model: Forecaster, *_: torch.Tensor) -> float:
        seen.append(head(model).detach().clone())
        return errors[len(seen) - 1]

    monkeypatch.setattr(unrolled, "rollout_error", told)
    model = untrained(SMALL, 2.0, 0)
    history = fit(model, modes, config, 0, tmp_path).history
    assert [row["validation_error"] for row in history] == errors and [row["unroll"] for row in history][2:4] == [1, 3]
    torch.testing.assert_close(head(model).detach(), seen[4], rtol=0, atol=0)
    assert not torch.equal(seen[4], seen[5])


@pytest.mark.parametrize("network", ["gated", "effective"])
def test_trained_on_one_size_it_forecasts_on_another(modes: Path, tmp_path: Path, network: str) -> None:
    """A domain of twice as many cells along each side, and waves of as many cells a wavelength."""
    shape = SMALL.model_copy(update={"network": network})
    noise = 0.0 if network == "effective" else 0.01
    stages = {"unrolls": (1, 4), "shares": (0.5, 0.5), "iterations": 120, "validate_every": 60}
    model = untrained(shape, 2.0, 0)
    fit(model, modes, TrainingConfig(batch=2, noise=noise, learning_rate=5e-3, **stages), 0, tmp_path / "training")
    write_shard(tmp_path / "large/data/valid/valid.hdf5", exact_shard(32, 17, 2.0, [0.95, 1.15], 5, coarsest=2))
    for data in (modes, tmp_path / "large"):
        valid = validation_batch(WaveDataset(data, "valid"))
        assert rollout_error(model, *valid) < 0.8 * rollout_error(untrained(shape, 2.0, 0), *valid), data


def test_half_precision_leaves_the_coarse_step_as_it_is() -> None:
    draw = torch.Generator().manual_seed(0)
    step, state = CoarseStep(1.0, 4), torch.randn(2, 2, 8, 8, generator=draw)
    stencil = step.stencil(1 + torch.rand(2, 2, 8, 8, generator=draw))
    plain = step(state, stencil)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(step(state, stencil), plain)


@pytest.mark.parametrize("frames", [None, 2])
def test_half_precision_gives_every_weight_its_gradient_to_a_few_per_cent(modes: Path, frames: int | None) -> None:
    """With frames given as well: what autocast keeps of a weight from a passage without gradients has none."""
    single, states, media = module_and_batch(modes, loss_frames=frames)
    half, _, _ = module_and_batch(modes, loss_frames=frames)
    loss = single.training_step((states, media), 0)
    loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        coarse = half.training_step((states, media), 0)
    coarse.backward()
    assert coarse.item() == pytest.approx(loss.item(), rel=0.02) and coarse.item() != loss.item()
    one, other = gradients(single), gradients(half)
    assert one.keys() == other.keys() == {name for name, _ in single.named_parameters()}
    for name in one:
        assert torch.linalg.vector_norm(other[name] - one[name]) < 0.1 * torch.linalg.vector_norm(one[name]), name


class Killed(BaseException):
    """No Exception, as KeyboardInterrupt is none; nobody but the test takes it."""


def test_killed_with_every_option_on_it_ends_as_the_unbroken_one(modes: Path, tmp_path: Path) -> None:
    def run(name: str, kills: Sequence[int] = ()) -> Path:
        for kill in kills:

            def progress(now: int, *_: object, kill: int = kill) -> None:
                if now == kill:
                    raise Killed

            with pytest.raises(Killed):
                train(SMALL, ALL, modes, tmp_path / f"{name}.safetensors", 4, progress, workers=1)
        return train(SMALL, ALL, modes, tmp_path / f"{name}.safetensors", 4, workers=1)

    killed, straight = run("killed", (7, 9, 12)), run("straight")
    assert killed.read_bytes() == straight.read_bytes()
    curves = {path.with_suffix(".history.jsonl").read_text() for path in (killed, straight)}
    assert len(curves) == 1
    plain = load(train(SMALL, SHORT, modes, tmp_path / "plain.safetensors", 4))
    assert not torch.equal(head(plain), head(load(killed)))


def test_the_learning_rate_is_a_number_at_every_step_of_trainings_of_any_length(modes: Path) -> None:
    for iterations in range(1, 25):
        module, _, _ = module_and_batch(modes, iterations=iterations, learning_rate=1e-3)
        found = module.configure_optimizers()
        rates = []
        for _ in range(iterations):
            rates.append(found["optimizer"].param_groups[0]["lr"])
            found["optimizer"].step()
            found["lr_scheduler"]["scheduler"].step()
        assert all(0 < rate <= 1.001e-3 for rate in rates), iterations
