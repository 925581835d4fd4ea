"""Media that the waves run through, each a function that returns a `Medium`; one file a medium."""

from wavesim.fem.media.graded import from_modulus, graded, luneburg
from wavesim.fem.media.image import image, picture
from wavesim.fem.media.inclusions import Circle, Ellipse, Polygon, Rectangle, Shape, inclusions
from wavesim.fem.media.jammed import jammed, of_speed
from wavesim.fem.media.layered import layered
from wavesim.fem.media.random_field import random_field
from wavesim.fem.medium import Medium, packing, uniform
from wavesim.mixtures import Diagram, Mixtures, read_diagram

__all__ = [
    "Circle",
    "Diagram",
    "Ellipse",
    "Medium",
    "Mixtures",
    "Polygon",
    "Rectangle",
    "Shape",
    "from_modulus",
    "graded",
    "image",
    "inclusions",
    "jammed",
    "layered",
    "luneburg",
    "of_speed",
    "packing",
    "picture",
    "random_field",
    "read_diagram",
    "uniform",
]
