"""The loss of a forecaster over unrolls, and which of its weights are the best.

    loss = mean over windows and frames of |forecast - truth|^2 / |truth|^2,   both channels of (p, dt p_t)
The forecast of a window of U + 1 frames starts from its first and runs on its own output for U frames; U grows by
stages, because what is trained on short unrolls blows up on long ones. With `loss_frames` the loss runs over the last
of the U frames alone, those before being given (pushforward; Brandstetter et al., arXiv 2202.03376). The model that is
kept is the one with the smallest error over rollouts of 32 frames from the first state of 8 validation trajectories,
never of one step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import lightning
import numpy as np
import torch

from wavesim.config import TrainingConfig
from wavesim.errors import WavesimError
from wavesim.metrics import relative_l2
from wavesim.surrogate.averaging import Averaged
from wavesim.surrogate.effective import EffectiveStep
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.optimizers import optimizer_of


class Unrolled(lightning.LightningModule):
    """The loss above; `valid` holds the states (batch, time, 2, y, x) and media (batch, 2, y, x) to validate on."""

    def __init__(self, model: Forecaster, config: TrainingConfig, valid: tuple[torch.Tensor, torch.Tensor]):
        super().__init__()
        self.model, self.config, self.valid = model, config, valid
        self.averaged: Averaged | None = None
        self.best_error = math.inf
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.mean: dict[str, torch.Tensor] | None = None
        self.seconds_before, self.start = 0.0, time.perf_counter()
        edges = np.cumsum(config.shares) / sum(config.shares) * config.iterations
        self.last_of_stage = np.round(edges).astype(int)

    def seconds(self) -> float:
        """How long training has taken, in this call and in those that it goes on from."""
        return self.seconds_before + time.perf_counter() - self.start

    def unroll(self, step: int) -> int:
        """Frames of the rollouts of a step, the first one being 0."""
        stage = int(np.searchsorted(self.last_of_stage, step, side="right"))
        return self.config.unrolls[min(stage, len(self.config.unrolls) - 1)]

    def on_train_start(self) -> None:
        if self.config.ema:  # now that the weights are on their device
            self.averaged = Averaged(self.model, self.config.ema, self.mean)

    def training_step(self, batch: Sequence[torch.Tensor], _: int) -> torch.Tensor:
        states, medium = batch
        unroll, loss = self.unroll(self.global_step), torch.zeros((), device=states.device)
        given = max(unroll - (self.config.loss_frames or unroll), 0)
        blind = given - given % self.model.config.bundle  # frames of one call have their gradients together
        context = self.model.encode(medium)
        frames = self.model.frames(states[:, 0], context)
        with torch.no_grad():
            for _ in range(blind):
                next(frames)
        if blind:
            torch.clear_autocast_cache()  # or the weights in half precision may stay those without gradients
        for frame in range(blind + 1, unroll + 1):
            forecast, truth = next(frames), states[:, frame]
            if frame > given:
                error = (forecast - truth).square().sum((1, 2, 3)) / truth.square().sum((1, 2, 3))
                loss = loss + error.mean()
        loss = loss / (unroll - given)
        if not torch.isfinite(loss):
            raise WavesimError(self.why_not_finite(states, loss.item()))
        self.losses.append(loss.item())
        if isinstance(self.model.coarse, EffectiveStep):
            loss = loss + self.model.coarse.excess(context.stencil, medium)
        return loss + self.config.weight_decay * size_of_kernels(self.model) if self.config.weight_decay else loss

    def why_not_finite(self, states: torch.Tensor, loss: float) -> str:
        """One line on a loss that is no number."""
        if not states[:, 1:].square().sum((2, 3, 4)).all():
            return "a training trajectory has a frame that is zero throughout, against which no error is relative"
        return f"the training loss is {loss} at iteration {self.global_step}; lower learning_rate"

    def on_train_batch_end(self, *_: Any) -> None:
        if self.averaged:
            self.averaged.update()

    def on_train_epoch_end(self) -> None:
        if self.global_step % self.config.validate_every and self.global_step < self.config.iterations:
            return  # Lightning closes a resumed epoch after its first step
        with self.averaged.in_place() if self.averaged else nullcontext():
            self.validate()

    def validate(self) -> None:
        """Add to the history, and keep the weights where they are the best so far."""
        error = rollout_error(self.model, *self.valid)
        loss = float(np.mean(self.losses))
        if self.trainer.world_size > 1:  # each process has the losses of its own windows
            mine = torch.tensor(loss, dtype=torch.float64, device=self.device)
            loss = float(self.trainer.strategy.reduce(mine, reduce_op="mean"))
        record = {"iteration": self.global_step, "loss": loss, "unroll": self.unroll(self.global_step - 1)}
        self.history.append({**record, "validation_error": error})
        self.losses.clear()
        # Short unrolls can look good over these frames and blow up after them: only the last stage's models count.
        last_stage = self.global_step > self.last_of_stage[-2:-1].sum() or self.global_step == self.config.iterations
        if error < self.best_error and last_stage:
            self.best_error = error
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self.model.parameters(), self.config)
        steps = self.config.iterations + 1
        rise = 0.1 if steps != 10 else 0.11  # the schedule divides by the steps of its rise, less one
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            self.config.learning_rate,
            total_steps=steps,
            pct_start=rise,
            cycle_momentum=self.config.optimizer == "adam",
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {
            "history": self.history,
            "best_error": self.best_error,
            "best_weights": self.best_weights,
            "mean": self.averaged.mean if self.averaged else None,
            "seconds": self.seconds(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        progress = checkpoint["progress"]
        self.history, self.mean, self.seconds_before = progress["history"], progress["mean"], progress["seconds"]
        self.best_error, self.best_weights = progress["best_error"], progress["best_weights"]


def known(model: torch.nn.Module) -> list[Any]:
    """The layers that know their dense kernel."""
    return [layer for layer in model.modules() if hasattr(layer, "frobenius")]


def size_of_kernels(model: torch.nn.Module) -> torch.Tensor:
    """The sum of squares of the dense kernels of the layers that know theirs; its decay is that of the product, which
    keeps what decay of the factors loses (Khodak et al., arXiv 2105.01029)."""
    return torch.stack([layer.frobenius() for layer in known(model)]).sum()


def rollout_errors(model: Forecaster, states: torch.Tensor, media: torch.Tensor) -> np.ndarray:
    """Relative L2 errors (time, batch) of the pressure over rollouts from the first state to the last.

    As forecasts are made: batch norms, which some references have, take the means that they learned, and learn none.
    """
    device = model.device
    with torch.no_grad(), _forecasting(model):
        context = model.encode(media.to(device))
        start = states[:, 0].to(device)
        budget = model.budget(start, context) if model.config.conserve_energy else None
        frames = zip(states[:, 1:].unbind(1), model.frames(start, context, budget), strict=False)
        errors = [relative_l2(forecast[:, 0].cpu().numpy(), truth[:, 0].numpy()) for truth, forecast in frames]
    return np.stack(errors)


@contextmanager
def _forecasting(model: Forecaster) -> Iterator[None]:
    """The model is no longer in training while this lasts."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def rollout_error(model: Forecaster, states: torch.Tensor, media: torch.Tensor) -> float:
    """The mean of `rollout_errors`; infinite where one of them is no number."""
    mean = float(np.mean(rollout_errors(model, states, media)))
    return mean if math.isfinite(mean) else math.inf
