"""The media of a dataset: which trajectories run through the same one, and what all of them were drawn from.

Trajectories through one medium tell less than as many through media of their own: what is said of unseen media counts
media. A packing is one medium, though each trajectory may have a cut of its own from it; elsewhere equal cells are.
"""

from __future__ import annotations

import hashlib
from typing import Any

from wavesim.dataset import WaveDataset
from wavesim.provenance import settings_hash

# Settings that change how many trajectories there are, where they go and who computes them, and not what they are.
BOOKKEEPING = {"frames", "pulses", "shard", "gzip", "verified", "valid_share", "test_share", "device"}


def media_of(data: WaveDataset) -> dict[str, list[int]]:
    """The numbers of the trajectories through each medium, by twelve characters of the medium's hash."""
    found: dict[str, list[int]] = {}
    packings: dict[str, str | None] = {}
    for index in range(len(data)):
        file = str(data.place(index)[0])
        if file not in packings:
            packing = data.about(index).get("packing")
            packings[file] = None if packing is None else settings_hash(packing)
        key = packings[file] or hashlib.sha256(data.medium(index).tobytes()).hexdigest()[:12]
        found.setdefault(key, []).append(index)
    return found


def waves_of(data: WaveDataset) -> dict[str, Any]:
    """What the trajectories were drawn from, as far as the files say: settings, and the packings' size ratios."""
    about = {str(data.place(i)[0]): i for i in range(len(data))}
    said = [data.about(index) for index in about.values()]
    ratios = sorted({round(float(one["packing"]["size_ratio"]), 4) for one in said if "packing" in one})
    settings = {key: value for key, value in said[0].get("config", {}).items() if key not in BOOKKEEPING}
    return {
        **settings,
        **({"size_ratios": ratios} if ratios else {}),
        **({"dataset": said[0].get("dataset")} if "imported" in said[0] else {}),
    }
