"""C files compiled for the machine at hand, once, and kept in the user's cache.

`compiled(source, NAME=value)` is `cc -O3 -march=native -DNAME=value`, under a name that changes with the source, the
headers beside it, the flags, the compiler and what the processor can do.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

from wavesim.errors import WavesimError

X86 = ("-march=native", "-mprefer-vector-width=512")
NATIVE = {"x86_64": X86, "AMD64": X86}.get(platform.machine(), ("-mcpu=native",))
FLAGS = ("-O3", *NATIVE, "-shared", "-fPIC")


def compiled(source: Path, **values: str | int) -> ctypes.CDLL:
    """The library that `source` makes with these macros.

    Raises:
        WavesimError: it cannot be compiled.
    """
    command = [os.environ.get("CC", "cc"), *FLAGS, *(f"-D{name}={value}" for name, value in values.items())]
    cpuinfo = Path("/proc/cpuinfo")
    processor = cpuinfo.read_text().split("\n\n")[0] if cpuinfo.exists() else platform.processor()
    # What a processor can do, without what changes from moment to moment, such as its clock.
    able = [line for line in processor.splitlines() if line.startswith(("model name", "flags", "Features"))]
    written = [file.read_bytes() for file in (source, *sorted(source.parent.glob("*.h")))]
    key = hashlib.sha256(repr((written, command, platform.machine(), able)).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "wavesim"
    made = folder / f"{source.stem}-{key}.so"
    try:
        if not made.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as part:
                new = Path(part) / made.name
                subprocess.run([*command, "-o", new, source, "-lm"], check=True, capture_output=True, text=True)
                new.rename(made)  # whole or not at all, whoever else compiles it now
        return ctypes.CDLL(str(made))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or error
        raise WavesimError(
            f"{source.name} could not be compiled by {command[0]!r} into {folder} ({str(said).strip()}); "
            "install a C compiler, which dolfinx needs too, or name one in CC"
        ) from error
