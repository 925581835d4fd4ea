"""What an exported graph says of itself: texts in its ONNX metadata that any program reads, in any language.

    format         wavesim graphs 1
    courant        frame interval over cell size: how many cells a wave of speed 1 crosses in a frame
    sides          left, right, bottom, top: rigid, soft, periodic or absorbing
    grid, batch    cells along y and x, and trajectories at once, that the graphs are for
    bundle         frames of one call
    network        what corrects the coarse step or takes its place
    substeps       of that step; a medium in which they are unstable is refused
    state, medium  their channels and units
    normalisation  what to do to fields before they go in: nothing
    fingerprint    of the forecaster, as in its file
    frame_interval, cell, data    those of the training, where the forecaster's file says them
What is more than a word is JSON. Without wavesim:

    session = onnxruntime.InferenceSession("pruned.frame.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert abs(float(facts["courant"]) - frame_interval / cell) < 1e-4 * float(facts["courant"])
    assert json.loads(facts["sides"]) == ["rigid"] * 4 and json.loads(facts["grid"]) == [64, 64]
With it `fits.check_fits` does that, and says in one line what does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from wavesim.errors import WavesimError
from wavesim.learning_config import Network
from wavesim.surrogate.checkpoint import fingerprint_of
from wavesim.surrogate.data import NORMALISATION
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.sides import Sides

FORMAT = "wavesim graphs 1"
STATE = "pressure p, and frame interval x dp/dt; float32, (batch, 2, y, x)"
MEDIUM = (
    "bulk modulus and density of (1/kappa) p_tt = div((1/rho) grad p), in units of the lengths and times; float32, "
    "(batch, 2, y, x)"
)


@dataclass(frozen=True)
class GraphFacts:
    """Of the texts above those that a run needs. sides: left, right, bottom, top; grid: (y, x)."""

    courant: float
    sides: Sides
    grid: tuple[int, int]
    batch: int
    bundle: int
    substeps: int
    network: str
    fingerprint: str


def texts_of(model: Forecaster, grid: tuple[int, int], batch: int, data: Mapping[str, Any] | None) -> dict[str, str]:
    """The texts of a forecaster's graphs; `data`: what its file says of the data that it was trained on."""
    config = model.config
    texts = {"format": FORMAT, "courant": repr(model.courant), "sides": json.dumps(config.sides)}
    texts |= {"grid": json.dumps(grid), "batch": str(batch), "bundle": str(config.bundle)}
    texts |= {
        "network": config.network,
        "substeps": str(config.substeps),
        "state": STATE,
        "medium": MEDIUM,
        "normalisation": NORMALISATION,
    }
    texts["fingerprint"] = fingerprint_of(model)
    if data:
        interval = float(data["frame_interval"])
        texts |= {"frame_interval": repr(interval), "cell": f"{interval / model.courant:.9g}", "data": json.dumps(data)}
    return texts


def facts_in(path: Path, texts: Mapping[str, str]) -> GraphFacts:
    """What the metadata of the graph `path` say. Raises WavesimError where they are not those of an export, or of a
    network that there is no more."""
    if texts.get("format") != FORMAT:
        raise WavesimError(f"{path} does not say what it was exported for; export the forecaster again")
    try:
        left, right, bottom, top = json.loads(texts["sides"])
        y, x = json.loads(texts["grid"])
        batch, bundle, substeps = (int(texts[name]) for name in ("batch", "bundle", "substeps"))
        sides, network = (left, right, bottom, top), texts.get("network", "gated")  # which older graphs do not say
        facts = GraphFacts(
            float(texts["courant"]), sides, (y, x), batch, bundle, substeps, network, texts["fingerprint"]
        )
    except (KeyError, ValueError, TypeError) as error:
        raise WavesimError(f"{path}: its metadata were changed ({error!r}); export the forecaster again") from error
    if network not in get_args(Network):
        known = ", ".join(get_args(Network))
        raise WavesimError(f"{path} is of network '{network}', none of {known}; export a forecaster of one of these")
    return facts
