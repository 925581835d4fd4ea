"""The recipe of each kind of convolution: what is filtered along which axes, one stage after the other.

C channels in, D out, rank R, k taps along each of d axes; weights without bias, which are also the multiply-accumulates
of a cell where nothing is strided:
    classical      k^d filter C -> D                                            k^d C D
    depthwise      k^d filter of each channel                                   k^d C
    separable      the same, then 1 x 1 C -> D                                  C (k^d + D)
    cp             1 x 1 C -> R, sum of one filter of k along each axis, 1 x 1 R -> D     R (C + D + d k)
    cp-series      the same with the axes one after the other                   R (C + D + d k)
    flattened      1 x 1 C -> D, then one filter of k along each axis           D (C + d k)
    chain          dense filters of k along the axes in turn, C -> R .. -> D    k R (C + D + (d - 2) R)
    sum            sum over the axes of dense filters of k, C -> D              d k C D
    tensor-train   1 x 1 C -> R, dense filters R -> R along each axis, 1 x 1 R -> D       R (C + D + d k R)
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS = (
    "classical", "depthwise", "separable", "cp", "cp-series", "flattened", "chain", "sum", "tensor-train",
)  # fmt: skip
RANKED = ("cp", "cp-series", "chain", "tensor-train")
ALONG = ("along_t", "along_y", "along_x")


@dataclass(frozen=True)
class Stage:
    """Filters side by side, summed: the name of each one's weight and the axes along which it has taps."""

    filters: tuple[tuple[str, tuple[int, ...]], ...]
    channels_in: int
    channels_out: int
    depthwise: bool = False

    @property
    def axes(self) -> tuple[int, ...]:
        """All axes along which the stage has taps."""
        return tuple(sorted({axis for _, axes in self.filters for axis in axes}))


def recipe(kind: str, channels_in: int, channels_out: int, rank: int, dim: int) -> tuple[Stage, ...]:
    """The stages of a kind from `KINDS`, first to last."""
    whole = (("weight", tuple(range(dim))),)
    lines = tuple((name, (axis,)) for axis, name in enumerate(ALONG[-dim:]))
    beside = lines[::-1]  # x first, as files have them
    middle = channels_out if kind == "flattened" else rank
    inward = Stage((("inward", ()),), channels_in, middle)
    outward = Stage((("outward", ()),), rank, channels_out)
    if kind == "classical":
        return (Stage(whole, channels_in, channels_out),)
    if kind == "depthwise":
        return (Stage(whole, channels_in, channels_in, depthwise=True),)
    if kind == "separable":
        pointwise = Stage((("outward", ()),), channels_in, channels_out)
        return Stage(whole, channels_in, channels_in, depthwise=True), pointwise
    if kind == "cp":
        return inward, Stage(beside, rank, rank, depthwise=True), outward
    if kind == "cp-series":
        return inward, *(Stage((line,), rank, rank, depthwise=True) for line in lines), outward
    if kind == "flattened":
        return inward, *(Stage((line,), middle, middle, depthwise=True) for line in lines)
    if kind == "chain":
        bonds = (channels_in, *[rank] * (dim - 1), channels_out)
        return tuple(Stage((line,), bonds[axis], bonds[axis + 1]) for axis, line in enumerate(lines))
    if kind == "sum":
        return (Stage(beside, channels_in, channels_out),)
    return inward, *(Stage((line,), rank, rank) for line in lines), outward
