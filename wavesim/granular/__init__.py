"""The matter: bidisperse packings, jammed by a particle engine in processes of its own, and measured here."""

from wavesim.granular.generate import generate_packings
from wavesim.granular.packing import Packing
from wavesim.granular.storage import read_packings

__all__ = ["Packing", "generate_packings", "read_packings"]
