"""The one kind of error that a user can mend: it says what was got, what is allowed and what to change.

The command line prints it as one line and leaves with exit code 2.
"""


class WavesimError(Exception):
    """Bad input, a missing engine or a full disk, told in one sentence."""


def missing_engine(package: str, purpose: str, extra: str) -> WavesimError:
    """The error for an optional engine that is not installed: `package` is needed for `purpose`; `extra` names it."""
    remedy = {
        "fem": "run `make setup` (it takes python3-dolfinx from the distribution), or use environment.yml with conda",
        "granular": "pip install 'wavesim[granular]'",
        "notebooks": "pip install 'wavesim[notebooks]'",
    }[extra]
    return WavesimError(f"{package} is not installed, and {purpose} needs it: {remedy}")
