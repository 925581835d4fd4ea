"""What a command shows on a terminal while it is at work."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BETWEEN_LINES = 30  # seconds


@contextmanager
def clock(what: str) -> Iterator[None]:
    """Show on a terminal what is being done, and for how long, each second."""
    from tqdm import tqdm

    over = threading.Event()
    with tqdm(desc=what, bar_format="{desc}: {elapsed}", disable=None) as bar:

        def tick() -> None:
            while not over.wait(1):
                bar.refresh()

        ticks = threading.Thread(target=tick, daemon=True)
        ticks.start()
        try:
            yield
        finally:
            over.set()
            ticks.join()


def shown(bar: Any) -> Any:
    """What a training reports to, shown in a bar of tqdm's; off a terminal as a line at most every half minute."""
    last = time.monotonic()

    def report(iteration: int, iterations: int, error: float) -> None:
        nonlocal last
        found = f"validation rel. L2 {error:.3f}" if error == error else ""
        if bar.disable and time.monotonic() - last > BETWEEN_LINES:
            last = time.monotonic()
            print(f"train: iteration {iteration} of {iterations}, {found or 'not validated yet'}", file=sys.stderr)
        bar.n = iteration
        bar.set_postfix_str(found)

    return report
