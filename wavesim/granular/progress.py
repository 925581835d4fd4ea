"""How far a run of many packings is: a bar on a terminal; where there is none, a line every half a minute at most.

diagram 7 of 24 packings after 0:03:10, 0:07:42 to go; size ratio 0.4, X_S 0.3: phi_J 0.6965
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from tqdm import tqdm

SECONDS = 30.0  # between two lines


@contextmanager
def counted(what: str, total: int, done: int, show: bool = True) -> Iterator[Callable[[str], None]]:
    """Call what it gives whenever a packing is finished, with a few words about it.

    Args:
        done: how many of the `total` an earlier run has made. show: nothing is shown otherwise.
    """
    terminal = sys.stderr.isatty()
    begin = last = time.monotonic()
    made = 0
    with tqdm(total=total, initial=done, desc=what, unit="packing", disable=not (show and terminal)) as bar:

        def finished(words: str) -> None:
            nonlocal last, made
            made += 1
            bar.set_postfix_str(words, refresh=False)
            bar.update()
            now = time.monotonic()
            if show and not terminal and now - last >= SECONDS:
                last = now
                so_far, to_go = now - begin, (now - begin) / made * (total - done - made)
                spans = [timedelta(seconds=round(span)) for span in (so_far, to_go)]
                line = f"{what} {done + made} of {total} packings after {spans[0]}, {spans[1]} to go; {words}"
                print(line, file=sys.stderr, flush=True)

        yield finished
