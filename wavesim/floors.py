"""What an error is to be held against: below these floors it says little of a forecast.

    truth       the truth's own error, against a run one degree higher, where the files state it
    grid        |p - P p| / |p|, the share of the field that the grid cannot hold (fem/unresolved.py). Errors are those
                of cell averages: that of the field itself is the root of the sum of both squares.
    rounding    what single precision loses of the stored truth
All are relative L2 of the pressure in a frame, means over the trajectories; persistence, the initial state for ever, is
a forecast among the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wavesim.dataset import WaveDataset
from wavesim.metrics import rounding


def truth_error(test: WaveDataset) -> dict[str, dict[str, float]]:
    """Mean over the frames, and last, of the truth's own relative L2, over the test trajectories that state it."""
    return {
        field: {"mean": float(curve.mean()), "last": float(curve[-1])}
        for field in ("pressure", "pressure_rate")
        if (curve := _stated(test, field)) is not None
    }


def floors(test: WaveDataset) -> dict[str, np.ndarray]:
    """Name -> (time,) of the frames after the first; the first two as far as the files state them."""
    shares = [share for i in range(len(test)) if (share := test.series(i, "unresolved_share")) is not None]
    losses = [rounding(test.window(i, 1, test.frames - 1)[:, 0]) for i in range(len(test))]
    own = _stated(test, "pressure")
    found = {
        "truth": None if own is None else own[1:],
        "grid": np.mean(shares, axis=0)[1:] if shares else None,
        "rounding": np.mean(losses, axis=0),
    }
    return {name: curve for name, curve in found.items() if curve is not None}


def _stated(test: WaveDataset, field: str) -> np.ndarray | None:
    """(time,) the mean of the errors that the files state."""
    files: dict[str, list[dict[str, Any]]] = {
        test.packing(i): test.about(i).get("truth_error", []) for i in range(len(test))
    }
    curves = [entry[field] for entries in files.values() for entry in entries]
    return np.mean(curves, axis=0) if curves else None
