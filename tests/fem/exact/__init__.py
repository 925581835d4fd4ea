"""Exact solutions of (1/kappa) p_tt = div((1/rho) grad p) + s, found without finite elements.

    profiles      pulse shapes f, their slopes, transforms and analytic signals
    matter        (kappa, rho) of one material, and how places and times broadcast
    images        mirror images that stand for rigid, soft and periodic sides
    modes         standing modes of rectangles, and a travelling periodic plane wave
    interface     a plane pulse on a plane interface, at any angle, total reflection included
    layers        a plane pulse in a stack of layers, by its bounces
    green         a point source in the open and in a rectangle
    pulse         a Gaussian at rest in the open and in a rectangle
    circle        a plane pulse, or a point source, and a round inclusion
    manufactured  smooth media and the source that makes a chosen p exact

Each is a frozen dataclass with `fields(x, y, t) -> (p, p_t)`: x and y broadcast to a shape S; a number t gives arrays
(*S), times (time,) give (time, *S); float64, nondimensional. Numpy, scipy and sympy only; nothing of wavesim.fem.
"""
