"""One process at a time in a folder, by a lock that the system takes back when the process ends, however it ends.

    FOLDER/.lock     whoever works in the folder holds a lock on it (flock), and has written the number of its process
The file stays and means nothing by itself: a kill leaves no lock behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavesim.errors import WavesimError


@contextmanager
def sole_user(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Work in `folder`, made where it is missing, while nobody else does; without effect where there is no flock.

    Args:
        name: of the file; one of its own lets a part of a run lock what the whole run has locked already.
    Raises:
        WavesimError: another process is at work there.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "a+") as file:  # no process started from here inherits it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise WavesimError(
                f"another process ({file.read().strip() or 'just begun'}) is at work in {folder}; "
                "wait for it, or give another --out"
            ) from error
        except OSError:
            pass  # a file system without locks
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
