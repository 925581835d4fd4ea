"""A forecaster in every runtime and precision that this machine has: what a frame takes, and what error it costs.

    torch           float32             the network itself
    onnxruntime     float32, int8       its graphs (export.py); int8: calibrated on given states, the filters alone
    openvino        float32, bfloat16, int8     the same graphs; the extra `fast`
    compiled        float32, bfloat16   loops.py: gated networks and, in float32, learned steps; bfloat16 where the
                                        processor multiplies it
Which is fastest depends on the machine: wavesim.bench times them in turns.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from wavesim.errors import WavesimError
from wavesim.surrogate.effective import EffectiveStep
from wavesim.surrogate.export import OnnxForecaster, export_onnx
from wavesim.surrogate.loops import CompiledForecaster
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.rollout import Stepper

Precision = Literal["float32", "bfloat16", "int8"]
Steppers = dict[tuple[str, Precision], Forecaster | Stepper]
"""By runtime and precision."""


class OpenVinoForecaster:
    """An exported forecaster in OpenVINO on one thread; goes wherever a Forecaster goes in `rollout`.

    Args:
        path: of the graphs, as for OnnxForecaster. precision: float32 or bfloat16, in which OpenVINO computes.
    Raises:
        WavesimError: OpenVINO or a graph is missing.
    """

    def __init__(self, path: str | Path, precision: str = "float32"):
        if find_spec("openvino") is None:
            raise WavesimError("OpenVINO is not installed: pip install 'wavesim[fast]'")
        import openvino

        self._onnx, core = OnnxForecaster(path), openvino.Core()
        self.courant = self._onnx.courant
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint}
        self._request = core.compile_model(
            core.read_model(self._onnx.graphs[1]), "CPU", settings
        ).create_infer_request()

    def start(self, state: np.ndarray, medium: np.ndarray) -> dict[str, np.ndarray]:
        """As OnnxForecaster."""
        return self._onnx.start(state, medium)

    def advance(self, state: np.ndarray, context: dict[str, np.ndarray]) -> np.ndarray:
        """The states of the frames of one call, (batch, frame, 2, y, x)."""
        return self._request.infer({"state": state, **context}, share_inputs=True)["next_states"].copy()


def quantised(path: Path, states: Sequence[np.ndarray], media: Sequence[np.ndarray], frames: int) -> Path:
    """The graphs of PATH with filters in int8, as PATH.int8: ranges are those of forecasts of `frames` from `states`.

    What reads the state stays in single precision, the coarse step and the network's first layer: int8 would round the
    state to a 256th of its peak. Fields are unsigned: of signed ones OpenVINO 2026 makes something else (13 % of a
    frame in place of 4 %, all of it in the first layer).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    exact = OnnxForecaster(path)

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        for state, medium in zip(states, media, strict=True):
            context = exact.start(state, medium)
            for _ in range(frames):
                yield {"state": state, **context}
                state = exact.advance(state, context)[:, -1]

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = feeds()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    graph = onnx.load(exact.graphs[1]).graph
    filters = [node.name for node in graph.node if node.op_type == "Conv"]
    target = path.with_name(path.name + ".int8")
    target.with_name(target.name + ".start.onnx").write_bytes(exact.graphs[0].read_bytes())
    logging.disable(logging.WARNING)  # its advice on graphs of another make
    try:
        quantize_static(
            str(exact.graphs[1]),
            str(target.with_name(target.name + ".frame.onnx")),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=filters[:1],
        )
    finally:
        logging.disable(logging.NOTSET)
    return target


def steppers(
    model: Forecaster, graphs: Path, grid: tuple[int, int], calibration: tuple[np.ndarray, np.ndarray] | None = None
) -> Steppers:
    """The forecaster in every runtime that is here, by (runtime, precision): in torch alone where it is not exported.

    Learned steps run in single precision alone: rounded to less, their operator is not symmetric.

    Args:
        graphs: where the ONNX graphs go, a name without suffix. calibration: states and media (n, 2, y, x), for int8.
    """
    found: Steppers = {("torch", "float32"): model}
    try:
        export_onnx(model, graphs, grid)
    except WavesimError:
        return found
    found["onnxruntime", "float32"] = OnnxForecaster(graphs)
    openvino = find_spec("openvino") is not None
    if openvino:
        found["openvino", "float32"] = OpenVinoForecaster(graphs)
    with contextlib.suppress(WavesimError):  # no compiler here, or what the loops do not know: the others remain
        found["compiled", "float32"] = CompiledForecaster(model)
    if isinstance(model.coarse, EffectiveStep):
        return found
    if openvino:
        found["openvino", "bfloat16"] = OpenVinoForecaster(graphs, "bfloat16")
    if calibration is not None:
        states, media = ([one[None] for one in part] for part in calibration)
        small = quantised(graphs, states, media, frames=8)
        found["onnxruntime", "int8"] = OnnxForecaster(small)
        if openvino:
            found["openvino", "int8"] = OpenVinoForecaster(small)
    with contextlib.suppress(WavesimError):
        found["compiled", "bfloat16"] = CompiledForecaster(model, "bfloat16")
    return found
