"""The matter: bidisperse packings, jammed by a particle engine in processes of its own, and measured here."""

from wavesim.granular.diagram import generate_diagram
from wavesim.granular.exchange import export_packings, import_packings
from wavesim.granular.generate import generate_mixture, generate_packings
from wavesim.granular.mixture import Mixture
from wavesim.granular.moduli import wave_speeds
from wavesim.granular.packing import Packing
from wavesim.granular.pulse import pulse_speeds
from wavesim.granular.storage import read_packings

__all__ = [
    "Mixture",
    "Packing",
    "export_packings",
    "generate_diagram",
    "generate_mixture",
    "generate_packings",
    "import_packings",
    "pulse_speeds",
    "read_packings",
    "wave_speeds",
]
