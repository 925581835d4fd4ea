"""Settings of forecasters: what they are, how they train, how they are pruned. `config.py` has those of the truth.

They are frozen, come from TOML, and are echoed whole into every artefact, as all settings are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wavesim.settings import Count, Positive, Settings, Side

Network = Literal["gated", "unet", "space-time", "effective", "classic-unet", "convnext-unet", "fno", "tfno"]


class ForecasterConfig(Settings):
    """A coarse explicit step, corrected by a network that has seen the medium."""

    network: Network = Field(
        default="gated",
        description="gated, unet and space-time, which filters the frames of a bundle along time too, correct the "
        "coarse step, with filters of one family; effective takes its place, and cannot blow up; the others are "
        "references, published networks",
    )
    convolution: Literal[
        "classical", "one-way", "separable", "cp-series", "flattened", "chain", "sum", "tensor-train"
    ] = Field(default="one-way", description="family of every filter of gated, unet and space-time")
    width: Count = Field(
        default=16, description="channels of the hidden fields on the finest grid (multiples of 8 run fastest)"
    )
    kernel_size: Annotated[int, Field(ge=3)] = Field(default=5, description="taps of a filter along each axis; odd")
    ranks: tuple[Count, ...] = Field(
        default=(32, 32, 32, 32),
        description="rank of each one-way layer, or of all on a level of unet; their number is the depth of every "
        "network (none: the coarse step alone)",
    )
    blocks: Count = Field(default=1, description="filters of unet, or blocks of convnext-unet, on a level each way")
    modes: Count = Field(default=16, description="Fourier modes along each axis that fno and tfno keep")
    activation: Literal["none", "gelu"] = Field(
        default="none", description="of unet before each filter; none: linear in the state, as gated is"
    )
    encoder_width: Count = Field(default=16, description="channels of the encoder that turns the medium into gates")
    encoder_ranks: tuple[Count, Count] = Field(default=(4, 8), description="ranks of the encoder's two one-way layers")
    substeps: Annotated[int, Field(ge=0)] = Field(
        default=6,
        description="coarse explicit steps a frame; 0: the network alone; learned steps take more in stiff media",
    )
    bundle: Count = Field(default=1, description="frames forecast in one call")
    conserve_energy: bool = Field(
        default=True, description="scale the state back whenever it exceeds its energy budget"
    )
    sides: tuple[Side, Side, Side, Side] = Field(
        default=("rigid",) * 4, description="left, right, bottom and top; training takes them from its data"
    )

    @property
    def kind(self) -> str:
        """In a word or two: the family of filters where there is one, and the network where it is not the usual one."""
        words = {"gated": self.convolution} | {name: f"{self.convolution} {name}" for name in ("unet", "space-time")}
        return words.get(self.network, self.network)

    @model_validator(mode="after")
    def _odd_kernel(self) -> ForecasterConfig:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} is even; a centred filter has an odd number of taps")
        return self

    @model_validator(mode="after")
    def _steps(self) -> ForecasterConfig:
        if self.network == "effective" and self.substeps == 0:
            raise ValueError(
                "substeps is 0, and network 'effective' is a step that takes them: give 1 or more, by default 6"
            )
        return self

    @model_validator(mode="after")
    def _as_many_frames(self) -> ForecasterConfig:
        reach = self.kernel_size // 2
        if self.network == "space-time" and self.bundle + 1 < reach:
            raise ValueError(
                f"kernel_size {self.kernel_size} reaches over {reach} frames, and network space-time has those of a "
                f"bundle of {self.bundle} and the state; take bundle {reach - 1} or more"
            )
        return self

    @model_validator(mode="after")
    def _something_moves(self) -> ForecasterConfig:
        if not self.ranks and self.substeps == 0:
            raise ValueError("ranks is empty and substeps is 0, which forecasts nothing; give ranks, substeps, or both")
        return self


class TrainingConfig(Settings):
    """Unrolled training: the loss runs over ever longer rollouts."""

    unrolls: tuple[Count, ...] = Field(
        default=(1, 2, 4, 8), min_length=1, description="frames of the rollouts, stage by stage"
    )
    shares: tuple[Positive, ...] = Field(
        default=(0.2, 0.2, 0.25, 0.35), description="share of the iterations for each stage"
    )
    iterations: Count = Field(default=1200, description="optimiser steps")
    batch: Count = Field(default=4, description="windows a step")
    optimizer: Literal["adam", "muon"] = Field(
        default="adam",
        description="what takes the steps: Adam, or Muon, which needs fewer (learning_rate about 0.01)",
    )
    learning_rate: Positive = Field(default=5e-3, description="peak of the one-cycle schedule")
    gradient_clip: Positive = Field(default=1.0, description="largest gradient norm")
    loss_frames: Count | None = Field(
        default=None,
        description="last frames of a rollout that the loss runs over, those before being run without gradients "
        "(pushforward); none: all",
    )
    noise: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="standard deviation of the noise on a rollout's first state, over that state's own rms"
    )
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="decay a step of the running mean of the weights that is validated and kept; 0: the weights "
        "themselves",
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="times the sum of squares of the filters' dense kernels, the products of one-way factors, is added "
        "to the loss",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of the network's convolutions while it trains"
    )
    validate_every: Count = Field(default=100, description="optimiser steps between two validations")

    @model_validator(mode="after")
    def _stages(self) -> TrainingConfig:
        if len(self.unrolls) != len(self.shares):
            raise ValueError(
                f"{len(self.unrolls)} unrolls but {len(self.shares)} shares: give one share for each unroll"
            )
        return self


class PruningConfig(Settings):
    """Pruning in rounds; the defaults are those of structured SAP (SAP is arXiv 2302.05601, whose own eta is 0)."""

    method: Literal[
        "sap",
        "structured-sap",
        "lottery-ticket",
        "one-shot",
        "one-shot-dense",
        "autosparse",
        "autosparse-shuffled",
        "random",
        "structured-random",
        "granet",
        "granet-st",
        "greg-1",
        "greg-2",
        "structured-greg",
        "structured-greg-2",
        "espn",
    ] = Field(default="structured-sap", description="how it is decided what goes")
    scope: Literal["global", "layer", "neuron"] = Field(default="layer", description="within what scores are compared")
    density: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="share that is left of what is scored; none: as the method's rounds come to"
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="share removed in one round, where no density is given and no index decides"
    )
    p: Positive = Field(default=0.5, description="exponent p of the PQ index")
    q: Positive = Field(default=1.0, description="exponent q of the PQ index, above p")
    eta: Annotated[float, Field(ge=0)] = Field(
        # Norms of whole ranks differ little (index 0.02): without slack the bound keeps all of them.
        default=0.1,
        description="slack of the bound on the removed mass",
    )
    gamma: Positive = Field(default=1.0, description="scale of the share to remove by the index")
    beta: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.9, description="largest share removed in one round by the index"
    )
    rounds: Annotated[int, Field(ge=1, le=255)] | None = Field(  # lifetimes, in rounds, are kept as bytes
        default=None, description="of pruning and retraining; none: the method's own"
    )
    within: Annotated[float, Field(ge=1)] | None = Field(
        default=None,
        description="the result is the last round whose validation error is at most so many times that of the network "
        "as it came, and rounds end with two in a row that are worse; none: all rounds, and the last one",
    )
    half: bool = Field(
        default=False, description="weights of the result are rounded to half precision, in which its file stores them"
    )
    iterations: Count = Field(default=250, description="optimiser steps of each training")
    restart: Literal["rewind", "fine-tune"] | None = Field(
        default=None, description="retrain from earlier weights, or go on; none: as the method was published"
    )
    rewind_to: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="optimiser steps of the first training after which rewound weights are taken; autosparse, and what "
        "it learns from, need 1 or more",
    )
    like: Path | None = Field(
        default=None,
        description="a pruned model whose counts in each tensor, in its last rounds, a random cut takes",
    )
    regressor: Path | None = Field(
        default=None, description="what `wavesim learn-pruning` made: autosparse scores weights by it"
    )
    multiple: Count = Field(
        default=8,
        description="widths and ranks that remain are rounded up to a multiple of this; no tensor keeps fewer weights",
    )

    @model_validator(mode="after")
    def _exponents(self) -> PruningConfig:
        if not self.p < self.q:
            raise ValueError(f"p {self.p} must be below q {self.q} for a PQ index")
        return self
