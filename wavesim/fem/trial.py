"""What a dataset will take: its bytes, and the minutes from a short run of its first file, measured here and now.

A file of F frames takes a + b F seconds, and c + d F bytes. Two runs of that file, with few frames and with more, give
a to d; another one before them compiles what has to be compiled, and is not counted. A file of few frames is run as it
is. Where files differ in the number v of trajectories that are run once more, one degree higher, files of the fewest
and of the most give a line in v.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavesim import processes
from wavesim.dataset import check, write_checksums, write_statistics
from wavesim.fem.plan import Job, Plan
from wavesim.fem.waves import make_shard

FEW, MORE = 2, 8


def estimate(plan: Plan, workers: int) -> dict[str, Any]:
    """What the files of a plan that are missing take, from a trial in a process of its own; nothing is kept of it.

    Returns:
        trajectories to make; gigabytes on the disk; minutes, for so many workers, each on a core of its own; and
        free_gigabytes of its disk.
    Raises:
        WavesimError: what the run itself would raise at its beginning.
    """
    missing = [job for job in plan.jobs if not job.path.exists()]
    folder = next(parent for parent in (plan.out, *plan.out.parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free / 1e9
    rows = sum(job.rows for job in missing)
    if not missing:
        return {"trajectories": 0, "gigabytes": 0.0, "minutes": 0.0, "free_gigabytes": round(free, 2)}
    whole = [job for job in missing if job.rows == max(other.rows for other in missing)]
    fewest, most = (choose(whole, key=lambda job: len(job.verified)) for choose in (min, max))
    more = len(most.verified) - len(fewest.verified)
    with processes.pool(1) as pool:
        seconds, size = pool.submit(_trial, fewest).result()
        each = max(0.0, pool.submit(_trial, most, False).result()[0] - seconds) / more if more else 0.0
    total = sum(seconds * job.rows / fewest.rows + each * (len(job.verified) - len(fewest.verified)) for job in missing)
    return {
        "trajectories": rows,
        "frames": fewest.config.frames,
        "gigabytes": float(f"{size * sum(job.bytes for job in missing) / fewest.bytes / 1e9:.3g}"),
        "minutes": float(f"{total / min(workers, len(missing)) / 60:.2g}"),
        "free_gigabytes": float(f"{free:.3g}"),
    }


def _trial(job: Job, cold: bool = True) -> tuple[float, float]:
    """Seconds and bytes that the file takes; `cold`: in a process that has not compiled anything yet."""
    taken = {}
    lengths = (FEW, MORE) if job.config.frames > MORE else (job.config.frames,)  # a short one as it is, no line drawn
    with tempfile.TemporaryDirectory() as folder:
        for number, frames in enumerate((FEW, *lengths) if cold else lengths):
            root = Path(folder) / str(number)
            short = replace(
                job,
                config=job.config.model_copy(update={"frames": frames}),
                path=root / "data" / "train" / job.path.name,
            )
            begin = time.perf_counter()
            make_shard(short)
            write_statistics(root)
            write_checksums(root)
            check(root)
            taken[frames] = time.perf_counter() - begin, short.path.stat().st_size
    few, more = lengths[0], lengths[-1]
    each = [max(0.0, b - a) / max(more - few, 1) for a, b in zip(taken[few], taken[more], strict=True)]
    seconds, size = (a + b * (job.config.frames - few) for a, b in zip(taken[few], each, strict=True))
    return seconds, size
