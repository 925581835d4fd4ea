"""A forecaster as two ONNX graphs, and the same forecaster run by ONNX Runtime.

    NAME.start.onnx   state, medium -> stencil, seen, mask, budget             once for each medium
    NAME.frame.onnx   state, medium, stencil, seen, mask, budget -> states     once for each call: a frame, or a bundle
`seen` is what the network has seen of the medium, one tensor for each of its levels. Grid and batch are fixed at
export: ONNX Runtime then plans its memory and layouts once. Both say in their metadata what they are for (graph_facts).
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from wavesim.errors import WavesimError
from wavesim.provenance import whole_file
from wavesim.surrogate.coarse import CoarseStep
from wavesim.surrogate.effective import granted
from wavesim.surrogate.graph_facts import facts_in, texts_of
from wavesim.surrogate.layers import Convolution
from wavesim.surrogate.models import Context, Forecaster


def _folded(model: Forecaster) -> Forecaster:
    folded = copy.deepcopy(model).eval().cpu()
    for name, layer in list(folded.named_modules()):
        if isinstance(layer, Convolution):
            folded.set_submodule(name, layer.fold())
    return folded


def _with(substeps: int, model: Forecaster) -> Forecaster:
    own, network = model.config.substeps, model.config.network
    if substeps != own and network != "effective":
        raise WavesimError(
            f"substeps {substeps}: network '{network}' has learned to correct {own}; export it with those"
        )
    if substeps < own:
        raise WavesimError(f"substeps {substeps} is less than the {own} of this forecaster; give {own} or more")
    changed = copy.deepcopy(model)
    changed.config = model.config.model_copy(update={"substeps": substeps})
    changed.coarse.substeps = substeps
    return changed


STABLE_CALLS = 40
REMEDY = (
    "and graphs cannot take more of them: forecast with PyTorch or the compiled loops, which do, or export the "
    "forecaster with more, --substeps"
)


class _Start(nn.Module):
    def __init__(self, model: Forecaster):
        super().__init__()
        self.model = model

    def forward(self, state: torch.Tensor, medium: torch.Tensor) -> tuple[torch.Tensor, ...]:
        context = self.model.encode(medium)
        return context.stencil, *context.seen, context.mask, self.model.budget(state, context)


class _Frame(nn.Module):
    def __init__(self, model: Forecaster):
        super().__init__()
        self.model = model

    def forward(self, state: torch.Tensor, medium: torch.Tensor, *known: torch.Tensor) -> torch.Tensor:
        stencil, *seen, mask, budget = known
        context = Context(medium, stencil, tuple(seen), mask)
        frames = [self.model.conserved(after, context, budget) for after in self.model.bundle(state, context).unbind(1)]
        return torch.stack(frames, dim=1)


def export_onnx(
    model: Forecaster,
    path: str | Path,
    grid: tuple[int, int],
    batch: int = 1,
    data: Mapping[str, Any] | None = None,
    substeps: int | None = None,
) -> tuple[Path, Path]:
    """Write PATH.start.onnx and PATH.frame.onnx for a grid (y, x).

    Args:
        path: a name without suffix; a suffix `.onnx` is dropped. data: what the forecaster's file says of the data that
            it was trained on, for the graphs' metadata. substeps: of learned steps, as many as the stiffest medium
            takes that the graphs are for; default: the settings'.
    Returns:
        the two paths.
    Raises:
        WavesimError: a forecaster without conserve_energy, or one with Fourier transforms; fewer substeps than the
            settings', or others for a network that has learned to correct those; nothing is written.
    """
    if substeps is not None:
        model = _with(substeps, model)
    if model.network and not model.network.exportable:
        raise WavesimError(
            f"a forecaster with network '{model.config.network}' is not exported: PyTorch's ONNX exporter has no "
            "complex products, which its Fourier modes are; forecast with PyTorch (rollout), or train another network"
        )
    if not model.config.conserve_energy:
        raise WavesimError("only forecasters with conserve_energy are exported: one without it can blow up")
    path = Path(path)
    base = path.with_suffix("") if path.suffix == ".onnx" else path
    texts, model = texts_of(model, grid, batch, data), _folded(model)
    state, medium = torch.zeros(batch, 2, *grid), torch.ones(batch, 2, *grid)
    with torch.no_grad():
        known = _Start(model)(state, medium)
    names = ["stencil", *(f"seen{level}" for level in range(len(known) - 3)), "mask", "budget"]
    start, frame = base.with_name(base.name + ".start.onnx"), base.with_name(base.name + ".frame.onnx")
    _export(_Start(model), (state, medium), ["state", "medium"], names, start, texts)
    _export(_Frame(model), (state, medium, *known), ["state", "medium", *names], ["next_states"], frame, texts)
    return start, frame


def _export(
    module: nn.Module,
    arguments: tuple[torch.Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    path: Path,
    texts: dict[str, str],
) -> None:
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with whole_file(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), arguments, str(part), input_names=inputs, output_names=outputs,
            dynamo=True, external_data=False, verbose=False, optimize=True,
        )  # fmt: skip
        graph = onnx.load(part)
        onnx.helper.set_model_props(graph, texts)
        onnx.save(graph, part)


class OnnxForecaster:
    """An exported forecaster in ONNX Runtime on `threads` threads; goes wherever a Forecaster goes in `rollout`.

    Attributes:
        facts: what the graphs were exported for; `fits.check_fits` holds a dataset against them.
    Raises:
        WavesimError: a graph is missing or broken, does not say what it is for, or is not of the same export as the
            other.
    """

    def __init__(self, path: str | Path, threads: int = 1):
        import onnxruntime

        path = Path(path)
        base = path.with_suffix("") if path.suffix == ".onnx" else path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        sessions = []
        self.graphs = tuple(base.with_name(f"{base.name}.{part}.onnx") for part in ("start", "frame"))
        for file in self.graphs:
            if not file.is_file():
                raise WavesimError(f"{file} does not exist; `wavesim export` makes it")
            try:
                sessions.append(onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]))
            except Exception as error:  # whatever kind of its own the runtime has for a file that is none
                raise WavesimError(f"{file} is not a whole ONNX graph; export the forecaster again") from error
        self._start, self._frame = sessions
        said = [session.get_modelmeta().custom_metadata_map for session in sessions]
        self.facts, other = (facts_in(file, texts) for file, texts in zip(self.graphs, said, strict=True))
        if self.facts != other:
            raise WavesimError(
                f"{self.graphs[0]} and {self.graphs[1].name} are not of one export; export the forecaster again"
            )
        self.courant, self.sides = self.facts.courant, self.facts.sides
        self._coarse = CoarseStep(self.courant, self.facts.substeps, self.sides)

    def start(self, state: np.ndarray, medium: np.ndarray) -> dict[str, np.ndarray]:
        """The context of a medium (1 or batch, 2, y, x) and the budget of a state (batch, 2, y, x), both float32.

        Raises:
            WavesimError: another grid or batch than the graphs were exported for, or a medium in which the coarse or
                the learned step is unstable.
        """
        expected = tuple(self._start.get_inputs()[0].shape)
        if tuple(state.shape) != expected:
            raise WavesimError(f"state has shape {tuple(state.shape)}; this file was exported for {expected}")
        names = [output.name for output in self._start.get_outputs()]
        medium = np.ascontiguousarray(np.broadcast_to(medium, expected))
        known = self._start.run(names, {"state": state, "medium": medium})
        context = {"medium": medium, **dict(zip(names, known, strict=True))}
        if self.facts.network == "effective":
            self._require_enough(medium)
            self._require_stable(context)
        else:
            self._coarse.check(torch.from_numpy(context["stencil"]))
        return context

    def _require_enough(self, medium: np.ndarray) -> None:
        """An effective step is trained with as many sub-steps as are granted: fewer may be stable, and are wrong."""
        given, least = self.facts.substeps, int(granted(self._coarse.stencil(torch.tensor(medium)), 1).max())
        if given < least:
            raise WavesimError(f"substeps {given} is less than the {least} that this medium takes, {REMEDY}")

    def _require_stable(self, context: dict[str, np.ndarray]) -> None:
        """Noise that grows without bound has found what is unstable: 1 % too stiff is a factor of 1.15 a sub-step."""
        noise = np.random.default_rng(0).standard_normal(context["medium"].shape, np.float32)
        first, free = np.linalg.norm(noise), {**context, "budget": np.full_like(context["budget"], np.inf)}
        for _ in range(STABLE_CALLS):
            noise = self.advance(noise, free)[:, -1]
        if not np.linalg.norm(noise) < 1000 * first:
            raise WavesimError(f"substeps {self.facts.substeps} is unstable in this medium, {REMEDY}")

    def advance(self, state: np.ndarray, context: dict[str, np.ndarray]) -> np.ndarray:
        """The states of the frames of one call, (batch, frame, 2, y, x)."""
        return self._frame.run(None, {"state": state, **context})[0]
