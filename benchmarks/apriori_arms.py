"""The arms of apriori.py: every forecaster, on what it trains, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from wavesim.config import ForecasterConfig

PRESETS = ("packing", "random", "cavity")
SIZES = {"packing": (8, 32, 128), "random": (8, 32, 128)}  # of 192 and 512 that train; all of them elsewhere
SUBSTEPS = 8  # of the coarse step: the stiffest of the packings take 7
# On the first state of a rollout, over its rms; without, one-way networks blow up on random media after 30 frames. Peak
# rates of filters of the one-way family and of effective media, and of all others (docs/decisions.md has the trials).
NOISE, RATE_OF_FACTORS, RATE = 1e-2, 5e-3, 2e-3
# Of trainings, where errors are as in float32, and steps of dense kernels take less time. They are on packings, at 10 %
# and more; on random media, at 1 %, the classical network's was 0.030 with bfloat16, and 0.005 to 0.021 with float32.
PRECISIONS: dict[str, Literal["float32", "bfloat16"]] = dict.fromkeys(
    ("packing", "packing-contrasts", "packing-32"), "bfloat16"
)
CLASSICAL, ONE_WAY = "classical, 5 taps", "one-way, rank 32, 5 taps"
TWO_LAYERS = "effective medium, one-way, 2 layers"
NARROW = ("effective medium, one-way, 16 wide", "effective medium, classical, 4 wide")
AS_LONG = ", classical's seconds"


@dataclass(frozen=True)
class Arm:
    """One forecaster and its training. changes: to ForecasterConfig; size: trajectories that train, None: all; scaled:
    the arm whose seconds of training it takes; afterwards: rank of the decomposition of the trained network."""

    group: str
    name: str
    changes: dict[str, Any]
    preset: str = "packing"
    size: int | None = None
    scaled: str | None = None
    afterwards: int | None = None

    def forecaster(self) -> ForecasterConfig:
        return ForecasterConfig.model_validate({"substeps": SUBSTEPS, **self.changes})

    @property
    def stable(self) -> dict[str, Any]:
        """What keeps its training stable, and fast. The effective step cannot blow up, and trains without noise."""
        effective = self.changes.get("network") == "effective"
        whole = self.changes.get("convolution") in (None, "classical") and not effective
        noise = 0.0 if effective else NOISE
        precision = PRECISIONS.get(self.preset, "float32")
        return {"noise": noise, "learning_rate": RATE if whole else RATE_OF_FACTORS, "precision": precision}


def gated(family: str, taps: int = 5, rank: int = 32) -> dict[str, Any]:
    return {"convolution": family, "kernel_size": taps, "ranks": (rank,) * 4, "width": 16}


def thinned(width: int) -> dict[str, Any]:
    """The classical one with fewer channels than 16, in its encoder too."""
    return {**gated("classical"), "width": width, "encoder_width": width}


def effective(family: str, **shape: Any) -> dict[str, Any]:
    return {"network": "effective", "convolution": family, **shape}


def narrow(family: str, width: int) -> dict[str, Any]:
    """An encoder of less than a twentieth of the classical network's parameters."""
    rank = min(width, 8)
    return effective(family, encoder_width=width, encoder_ranks=(rank, rank), ranks=(rank, rank))


def arms() -> list[Arm]:
    """All of them, the most telling first."""
    classical, one_way = gated("classical"), gated("one-way")
    found = [Arm("main", CLASSICAL, classical), Arm("main", ONE_WAY, one_way)]
    found += [Arm("thin", f"classical, {width} channels", thinned(width)) for width in (5, 7, 8, 12)]
    found += [
        Arm("other presets", name, changes, preset)
        for preset in PRESETS[1:]
        for name, changes in (
            (CLASSICAL, classical),
            (ONE_WAY, one_way),
            ("classical, 7 channels", thinned(7)),
        )
    ]
    found += [
        Arm("data", f"{name}, {size} trajectories", changes, preset, size)
        for preset, sizes in SIZES.items()
        for size in sizes
        for name, changes in (("classical", classical), ("one-way", one_way))
    ]
    found += [Arm("main", f"classical, {taps} taps", gated("classical", taps)) for taps in (3, 7)]
    found += [
        Arm("main", f"one-way, rank {rank}, {taps} taps", gated("one-way", taps, rank))
        for rank in (8, 16, 32)
        for taps in (3, 5, 7)
        if (rank, taps) != (32, 5)
    ]
    found += [Arm("afterwards", "classical decomposed to rank 32 and tuned", classical, afterwards=32)]
    found += [
        Arm("families", f"{family}, rank {rank}", gated(family, rank=rank))
        for family, rank in (
            ("cp-series", 32),
            ("flattened", 16),
            ("separable", 16),
            ("chain", 8),
            ("sum", 16),
            ("tensor-train", 8),
        )
    ]
    levels = {"ranks": (8, 16, 32), "kernel_size": 3, "width": 8}
    found += [
        Arm("networks", f"U-Net, {family}", {"network": "unet", "convolution": family, **levels})
        for family in ("classical", "one-way")
    ]
    block = {"network": "space-time", "bundle": 4, "width": 8, "ranks": (16,) * 4}
    found += [
        Arm("networks", f"kernels of space and time, {family}", {**block, "convolution": family})
        for family in ("classical", "one-way")
    ]
    encoder: dict[str, Any] = {"encoder_width": 32, "encoder_ranks": (16, 32)}
    found += [
        Arm("networks", f"effective medium, {family}, {deep} layers", effective(family, ranks=(16,) * deep, **encoder))
        for family, deep in (("classical", 2), ("one-way", 2), ("one-way", 4))
    ]
    two = effective("one-way", ranks=(16, 16), **encoder)
    found += [
        Arm("time", f"{name}{AS_LONG}", changes, scaled=CLASSICAL)
        for name, changes in (
            ("classical, 7 channels", thinned(7)),
            (ONE_WAY, one_way),
            (TWO_LAYERS, two),
            (NARROW[0], narrow("one-way", 16)),
        )
    ]
    found += [
        Arm("networks", f"effective medium, {family}, {width} wide", narrow(family, width))
        for family, width in (("one-way", 16), ("classical", 4), ("one-way", 8), ("classical", 3))
    ]
    found += [Arm("other presets", TWO_LAYERS, two, preset) for preset in PRESETS[1:]]
    found += [Arm("networks", f"{name}, thinned", {"network": name, **changes}) for name, changes in THINNED.items()]
    return found


# Published networks with about the 34,000 weights of the classical forecaster.
THINNED: dict[str, dict[str, Any]] = {
    "classic-unet": {"width": 4, "ranks": (1, 1, 1)},
    "convnext-unet": {"width": 4, "ranks": (1, 1, 1)},
    "fno": {"width": 12, "ranks": (1, 1, 1), "modes": 8},
    "tfno": {"width": 30, "ranks": (1, 1, 1), "modes": 8},
}
