"""The one kind of error that a user can mend: it says what was got, what is allowed and what to change.

The command line prints it as one line and leaves with exit code 2.
"""


class WavesimError(Exception):
    """Bad input, a missing engine or a full disk, told in one sentence."""


def missing_engine(package: str, purpose: str, extra: str, cause: ImportError | None = None) -> WavesimError:
    """The error for an optional engine that is not installed: `package` is needed for `purpose`; `extra` names it.

    With the `cause` of a failed import, a package that is there but broken is told apart.
    """
    if cause is not None and not (isinstance(cause, ModuleNotFoundError) and cause.name == package):
        return WavesimError(
            f"{package} is installed but cannot be imported ({type(cause).__name__}: {cause}); "
            f"mend what `python -c 'import {package}'` reports, or install it anew"
        )
    remedy = {
        "fem": "run `make setup` (it takes python3-dolfinx from the distribution), or use environment.yml with conda",
        "mesh": "pip install 'wavesim[mesh]'",
        "granular": "pip install 'wavesim[granular]'",
        "dask": "pip install 'wavesim[dask]'",
        "baselines": "pip install 'wavesim[baselines]'",
        "notebooks": "pip install 'wavesim[notebooks]'",
    }[extra]
    return WavesimError(f"{package} is not installed, and {purpose} needs it: {remedy}")
