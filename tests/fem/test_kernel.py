"""The loops that step: the same numbers as scipy's product with B, on every kind of mesh, wall and device."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from exact.meshes import warped
from scipy import sparse

from wavesim.errors import WavesimError
from wavesim.fem import Medium, Nodes, Pulse, Raster, Sides, assemble, kernel, packing, stepper, uniform
from wavesim.fem.cells import cells
from wavesim.fem.device import OnDevice
from wavesim.fem.mesh import Mesh
from wavesim.fem.source import PointSource, Ricker, SpreadSource

GRAINS = (np.array([[0.2, 0.3], [0.7, 0.6]]), np.array([0.2, 0.25]))
STIFF, HEAVY = packing(*GRAINS, 20.0, 1.0, 0.1), packing(*GRAINS, 20.0, 5.0, 0.1)
NODES = {p: Nodes((7, 5), p, (1.4, 0.9)) for p in (1, 4, 8)}
TRAPEZOIDS = Mesh(
    np.array([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1.3], [2, 1], [0, 2], [1, 2], [2, 2.0]]),
    np.array([[0, 1, 4, 3], [1, 2, 5, 4], [3, 4, 7, 6], [4, 5, 8, 7]]),
)


AVERAGED = np.column_stack(GRAINS)
MIXED = Sides("soft", "rigid", "periodic", "periodic")


def by_scipy(operator: stepper.Operator, p: np.ndarray, d: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """p and d after so many steps, by scipy's sparse product, in double precision."""
    scale = 1.0 if operator.scale is None else operator.scale

    def product(field: np.ndarray) -> np.ndarray:
        return scale * (operator.stepping @ field)

    p, d = p.astype(float), d.astype(float)
    for _ in range(steps):
        p = p + d
        force = product(p)
        d = d - force + (product(force) / 12 if operator.order == 4 else 0)
    return p, d


def operator_of(medium: Medium, mesh: Nodes | Mesh, sides: Sides, order: int = 4, dtype: type = np.float64):
    return assemble(medium, mesh, 0.1, (4, 4), sides, order=order, dtype=dtype).operator


CASES = {
    "packing": (HEAVY, NODES[4], Sides()),
    "uniform density": (STIFF, NODES[4], Sides()),
    "soft and periodic": (STIFF, NODES[4], Sides("soft", "rigid", "periodic", "periodic")),
    "all periodic": (HEAVY, NODES[4], Sides("periodic", "periodic", "periodic", "periodic")),
    "degree 1": (STIFF, NODES[1], Sides()),
    "degree 8": (HEAVY, NODES[8], Sides("rigid", "soft", "rigid", "soft")),
    "trapezoids": (HEAVY, TRAPEZOIDS, Sides()),
    "averages": (Raster(AVERAGED, 20.0, 5.0, NODES[4]), NODES[4], Sides()),
    "averages, soft and periodic": (Raster(AVERAGED, 20.0, 5.0, NODES[8]), NODES[8], MIXED),
    "curved cells between soft walls": (HEAVY, warped(5), Sides.all("soft")),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_steps_equal_those_by_scipy_to_rounding(case, order, dtype):
    operator = operator_of(*case, order, dtype)
    random = np.random.default_rng(3)
    # Noise of the size that B makes of noise, so that every entry of B counts.
    p, d = random.standard_normal((2, operator.mass.size)).astype(dtype)
    got, want = operator.loops.advance(p, d, 3, order), by_scipy(operator, p, d, 3)
    for a, b in zip((*got, operator.loops.product(p)), (*want, operator.stepping @ p.astype(float)), strict=True):
        assert a.dtype == dtype
        assert np.abs(a - b).max() < 20 * np.finfo(dtype).eps * max(np.abs(b).max(), np.abs(want[1]).max())


def test_a_rectangle_is_recognised_and_anything_else_is_not():
    kinds = {name: operator_of(*case, dtype=np.float32).loops for name, case in CASES.items()}
    assert isinstance(kinds.pop("trapezoids"), kernel.ByCells)
    assert isinstance(operator_of(*CASES["trapezoids"]).loops, kernel.Rows)
    for name in ("curved cells between soft walls", "averages", "averages, soft and periodic"):  # 1/rho is a tensor
        assert isinstance(kinds.pop(name), kernel.ByCells)
    assert all(isinstance(loops, kernel.Grid) for loops in kinds.values())
    # Two small matrices where the density is uniform, else diagonals of each point.
    assert {name: loops.diagonals.along.ndim for name, loops in kinds.items()} == {
        name: 2 if CASES[name][0] is STIFF else 3 for name in kinds
    }


@pytest.mark.parametrize("mesh", [NODES[4], TRAPEZOIDS])
@pytest.mark.parametrize(("device", "dtype"), [(None, np.float64), (None, np.float32), ("cpu", np.float64)])
def test_a_batch_of_media_is_stepped_as_by_scipy(mesh, device, dtype):
    problems = [assemble(medium, mesh, 0.1, (4, 4)) for medium in (STIFF, uniform(2.0), uniform(0.5))]
    space, masses = problems[0].space, np.stack([problem.operator.mass for problem in problems], axis=1)
    ones = np.ones(space.weights.size)
    by_cells = cells(space, ones, problems[0].prolongation)
    operator = stepper.operator(space.stiffness(ones), masses, 0.1, dtype=dtype, device=device, cells=by_cells)
    p, d = np.random.default_rng(4).standard_normal((2, *masses.shape)).astype(dtype)
    for a, b in zip(operator.loops.advance(p, d, 3, 4), by_scipy(operator, p, d, 3), strict=True):
        assert a.shape == masses.shape
        assert np.abs(a - b).max() < 500 * np.finfo(dtype).eps * np.abs(b).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torch_steps_equal_those_by_scipy_to_rounding(dtype):
    operator = replace(operator_of(*CASES["packing"], dtype=dtype), device="cpu")
    p, d = np.random.default_rng(5).standard_normal((2, operator.mass.size)).astype(dtype)
    state = stepper.advance(operator, stepper.WaveState(p, d))
    for a, b in zip((state.pressure, state.increment), by_scipy(operator, p, d, operator.steps), strict=True):
        assert a.dtype == dtype
        assert np.abs(a - b).max() < 50 * np.finfo(dtype).eps * np.abs(b).max()


# What enters a step besides B: a layer, sources, both; and a batch of pulses through one medium.
FORCED = {
    "layer": (Sides.all("absorbing"), []),
    "sources": (Sides("soft", "rigid", "periodic", "periodic"), [PointSource((0.5, 0.4), Ricker(3.0, 0.1))]),
    "both": (
        Sides("absorbing", "soft", "periodic", "periodic"),
        [PointSource((0.5, 0.4), Ricker(3.0, 0.1)), SpreadSource(Pulse((0.9, 0.2), 0.1), np.sin)],
    ),
}


def by_the_equations(operator: stepper.Operator, state: stepper.WaveState, steps: int) -> list[np.ndarray]:
    """p, d and f+ after so many steps: absorbing.py and stepper.py line by line, in double precision, by scipy."""
    b, p, d, later = (
        operator.stepping,
        *(np.asarray(part, float) for part in (state.pressure, state.increment, state.later)),
    )
    layer, drive, h = operator.layer, operator.drive, operator.time_step
    for k in range(state.steps + 1, state.steps + steps + 1):
        p = p + d
        force = b @ p
        if layer is not None:
            before, later = later, layer.decay * later + layer.gain * (layer.derivative @ p)
            force += layer.scale * (layer.push @ (before + later))
        if operator.order == 4:
            force -= b @ force / 12
        if drive is not None:
            f = [np.array(drive.signal((k + j) * h)) for j in (-1, 0, 1)]
            force -= drive.level @ f[1]
            if operator.order == 4:
                force -= drive.curve @ (f[0] - 2 * f[1] + f[2])
        d = d - force if layer is None else layer.keep * d - layer.kick * (force + layer.pull * p)
    return [p, d, later]


@pytest.mark.parametrize(
    ("medium", "mesh"),
    [(STIFF, NODES[4]), (HEAVY, NODES[4]), (HEAVY, TRAPEZOIDS)],
    ids=["uniform density", "packing", "trapezoids"],
)
@pytest.mark.parametrize(
    ("device", "dtype"), [(None, np.float64), (None, np.float32), ("cpu", np.float64), ("cpu", np.float32)]
)
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("case", FORCED)
def test_layers_and_sources_are_stepped_as_by_scipy_to_rounding(case, order, device, dtype, medium, mesh):
    sides, sources = FORCED[case]
    operator = assemble(medium, mesh, 0.1, (4, 4), sides, 2, sources, order=order, dtype=dtype, device=device).operator
    random = np.random.default_rng(8)
    p, d = random.standard_normal((2, operator.mass.size)).astype(dtype)
    state = stepper.WaveState(p, d, 5)
    if operator.layer is not None:
        rows = np.diff(operator.layer.derivative.indptr) > 0  # f lies at points of elements, not where none fills up
        before, later = (rows * random.standard_normal((2, rows.size))).astype(dtype)
        state = stepper.WaveState(p, d, 5, before, later)
    want = by_the_equations(operator, state, operator.steps)
    found = stepper.advance(operator, state)
    one_by_one = state
    for _ in range(operator.steps):
        one_by_one = stepper.step(operator, one_by_one)
    assert found.steps == one_by_one.steps == 5 + operator.steps
    for state in (found, one_by_one):
        for a, b in zip((state.pressure, state.increment, state.later), want, strict=True):
            assert np.abs(a - b).max() <= 200 * np.finfo(dtype).eps * np.abs(b).max()


def test_a_device_that_cannot_multiply_is_one_line():
    with pytest.raises(WavesimError, match=r"torch takes no steps on xyz \(.*\): leave the device out"):
        OnDevice(sparse.identity(3, format="csr"), None, "xyz").product(np.ones(3))


def test_neither_a_field_nor_a_state_is_changed_in_place():
    operator = operator_of(*CASES["packing"])
    p, d = np.random.default_rng(6).standard_normal((2, operator.mass.size))
    before = p.copy(), d.copy()
    operator.loops.product(p)
    stepper.step(operator, stepper.WaveState(p, d))
    assert np.array_equal(p, before[0]) and np.array_equal(d, before[1])


@pytest.mark.parametrize("medium", [STIFF, HEAVY])
def test_single_precision_stays_close_to_double_over_thousands_of_steps_with_a_constant_part(medium):
    # A constant is what errors of K's row sums push: by compressed rows it is 1e-4 to 5e-4 off here.
    fields = {}
    for dtype in (np.float32, np.float64):
        problem = assemble(medium, Nodes((8, 8), 4), 3.0, (4, 4), steps=5000, dtype=dtype)
        state = stepper.init(problem.operator, problem.at_unknowns(Pulse((0.4, 0.6), 0.1)) + 1)
        fields[dtype] = stepper.advance(problem.operator, state).pressure
    single, double = fields.values()
    assert np.linalg.norm(single - double) < 1e-4 * np.linalg.norm(double)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("medium", [STIFF, HEAVY])
def test_steps_run_backward_return_to_the_start_to_rounding(medium, dtype):
    # d runs from p to p + d; backward it starts at p + d, with -d.
    operator = operator_of(medium, NODES[4], Sides(), dtype=dtype)
    start = np.random.default_rng(7).standard_normal(operator.mass.size).astype(dtype)
    state = first = stepper.init(operator, start, start[::-1])
    for _ in range(500 // operator.steps + 1):
        state = stepper.advance(operator, state)
    turned = stepper.WaveState(state.pressure + state.increment, -state.increment)
    for _ in range(500 // operator.steps + 1):
        turned = stepper.advance(operator, turned)
    got = turned.pressure + turned.increment
    assert np.linalg.norm(got - first.pressure) < 1000 * np.finfo(dtype).eps * np.linalg.norm(start)
    assert np.linalg.norm(state.pressure - start) > 0.1 * np.linalg.norm(start)


def test_a_machine_without_a_compiler_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel._library.cache_clear()
    try:
        with pytest.raises(WavesimError, match="install a C compiler"):
            operator_of(*CASES["packing"]).loops.product(np.ones(29 * 21))
    finally:
        kernel._library.cache_clear()


def test_the_loops_compile_without_a_warning(tmp_path):
    source = kernel.__file__.replace(".py", ".c")
    command = ["cc", "-O3", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-DREAL=double", "-DWIDTH=2", source]
    subprocess.run([*command, "-o", tmp_path / "kernel.so"], check=True)
