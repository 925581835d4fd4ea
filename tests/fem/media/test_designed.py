"""Lenses of granular mixtures: the mixture has the speed that was asked for, and waves meet where rays do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.fem import (
    Mixtures,
    Nodes,
    PlanePacket,
    Sides,
    assemble,
    focus,
    generate_dataset,
    luneburg,
    of_speed,
    rays,
    read_diagram,
    recall,
    simulation,
    stepper,
)
from wavesim.fem.presets import draw
from wavesim.mixtures import Diagram
from wavesim.preset_config import LensConfig, MixtureConfig, dataset_config
from wavesim.provenance import generator

DIAGRAM = Path(__file__).parents[3] / "data/diagram.json"


@pytest.fixture(scope="module")
def diagram():
    return read_diagram(DIAGRAM)


@pytest.mark.parametrize(("ratio", "between"), [(0.4, (0.1, 0.9)), (0.73, (0.05, 0.8)), (0.5, (0.1, 0.9))])
def test_a_mixture_has_the_speed_that_it_was_asked_for(diagram, ratio, between):
    mixtures = Mixtures.between(diagram, ratio, between)
    slowest = mixtures.speeds.min() / mixtures.speeds.max()
    wanted = np.linspace(slowest, 1, 101)
    found = mixtures.of_speed(wanted)
    assert found[0] == pytest.approx(between[0]) and found[-1] == pytest.approx(between[1])
    bulk, phi = diagram.at(np.array(ratio), found)
    np.testing.assert_allclose(np.sqrt(bulk / phi) / mixtures.speeds.max(), wanted, rtol=1e-12)
    medium = of_speed(mixtures, lambda x, y: slowest + (1 - slowest) * x + 0 * y)
    x = np.linspace(0, 1, 11)
    kappa, rho = medium.bulk_modulus(x, 0 * x), medium.density(x, 0 * x)
    np.testing.assert_allclose(np.sqrt(kappa / rho), slowest + (1 - slowest) * x, rtol=1e-12)
    assert kappa[-1] == pytest.approx(1) and rho[-1] == pytest.approx(1)  # the fastest is the background
    assert np.ptp(rho) > 1e-3


def test_speeds_that_fall_with_the_concentration_are_of_one_mixture_too():
    falling = Mixtures(0.5, np.array([0.2, 0.4, 0.8]), np.array([0.9, 0.5, 0.4]), np.array([0.6, 0.7, 0.8]))
    assert falling.fastest == 0.2
    np.testing.assert_allclose(falling.of_speed(falling.speeds / falling.speeds[0]), [0.2, 0.4, 0.8], rtol=1e-12)


def test_what_no_mixture_can_be_is_refused():
    x = np.array([0.0, 0.3, 0.6, 1.0])
    diagram = Diagram(np.array([0.4]), [x], [np.array([0.25, 0.36, 0.49, 0.42])], [np.ones(4)])
    with pytest.raises(WavesimError, match=r"X_S 0 to 1 .* does not rise or fall all the way \(it turns at 0.6\)"):
        Mixtures.between(diagram, 0.4, (0.0, 1.0))
    with pytest.raises(WavesimError, match="does not rise or fall"):
        Mixtures(0.4, np.array([0.3]), np.ones(1), np.ones(1))
    with pytest.raises(WavesimError, match=r"\[0.6, 0.0\] must go from less to more"):
        Mixtures.between(diagram, 0.4, (0.6, 0.0))
    weak = Mixtures.between(diagram, 0.4, (0.0, 0.6))
    with pytest.raises(WavesimError, match=r"no mixture has the wave speed 0.5 .* has 0.7143 to 1: use a weaker lens"):
        weak.of_speed(np.array([0.9, 0.5]))
    apart = Diagram(np.array([0.2, 0.4]), [np.array([0.1]), np.array([0.3])], [np.ones(1)] * 2, [np.ones(1)] * 2)
    with pytest.raises(WavesimError, match=r"not measured at the same concentrations: use one of 0.2, 0.4"):
        apart.of(0.3)
    assert apart.at(np.array(0.2), np.array(0.1)) == (1.0, 1.0)  # of one ratio, whatever the next one knows


def test_rays_of_a_luneburg_lens_meet_at_its_rim_and_of_a_secant_one_after_a_quarter_of_its_period():
    """n = sech(a y): every ray parallel to the axis crosses it at x = pi / (2 a) (Fletcher et al., 1954)."""
    y = np.linspace(-0.25, 0.25, 11)
    paths = rays(luneburg((0.6, 0.5), 0.3), np.column_stack([0 * y + 0.2, 0.5 + y]), 0.0, np.linspace(0, 1, 401))
    np.testing.assert_allclose(focus(paths)[1], [0.9, 0.5], atol=5e-3)
    for path in np.moveaxis(paths, 1, 0)[[0, 3, 10]]:  # each by itself, turned by its height
        assert np.hypot(*(path - [0.9, 0.5]).T).min() < 5e-3

    a, angle = 3.0, 0.3
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # rows: along and across
    mixtures = Mixtures.between(read_diagram(DIAGRAM), 0.4, (0.1, 0.9))
    lens = of_speed(mixtures, lambda x, y: 0.65 * np.cosh(a * (turned[1, 0] * x + turned[1, 1] * y)))
    paths = rays(lens, y[:, None] * turned[1], angle, np.linspace(0, 1.2, 601))
    np.testing.assert_allclose(turned @ focus(paths)[1], [np.pi / (2 * a), 0], atol=3e-3)


def test_a_plane_wave_through_the_presets_lens_of_mixtures_is_brightest_where_its_rays_meet():
    """A wavelength of a tenth; the brightest place is that of the largest time integral of p^2. The lens is a drawn
    one: 0.3 to 0.4 in radius, anywhere in the domain."""
    lengths, wavelength, cells = (1.4, 1.0), 0.1, (100, 140)
    config = LensConfig(lengths=lengths, radii=(0.3, 0.4), mixture=MixtureConfig(diagram=str(DIAGRAM)))
    medium, _ = draw(config, generator(5, "waves", 0))
    x, y = (np.arange(cells[1]) + 0.5) / 100, (np.arange(cells[0]) + 0.5) / 100
    speed = np.sqrt(medium.bulk_modulus(x[None], y[:, None]) / medium.density(x[None], y[:, None]))
    assert speed.min() == pytest.approx(np.sqrt(0.5), abs=1e-3)
    middle = np.unravel_index(np.argmin(speed), cells)
    inside = np.flatnonzero(speed.min(axis=1) < 0.98)  # rows that the lens bends
    start = np.column_stack([np.full(inside.size, -0.2), y[inside]])
    when, meeting = focus(rays(medium, start, 0.0, np.linspace(0, 2.2, 441)))
    rim = np.array([x[middle[1]] + inside.size / 200, y[middle[0]]])  # the far side, to a few cells
    assert np.hypot(*(meeting - rim)) < 0.05 and 0 < when < 440

    problem = assemble(
        medium, Nodes((42, 30), 4, lengths), 0.01, cells, Sides("absorbing", "absorbing"), layer=6, dtype=np.float32
    )
    packet = PlanePacket((0.0, 0.5), 0.0, wavelength, 0.05)
    state = stepper.init(problem.operator, *map(problem.at_unknowns, (packet.pressure, packet.rate)))
    exposure = np.zeros(cells)
    for _ in range(190):
        state = simulation.next_frame(problem, state)
        exposure += simulation.sample(problem, stepper.frame(problem.operator, state))[0] ** 2
    row, column = np.unravel_index(np.argmax(exposure), cells)
    assert exposure.max() > 3 * np.median(exposure)
    assert np.hypot(x[column] - meeting[0], y[row] - meeting[1]) < wavelength / 2


def test_a_diagram_of_disks_is_no_lens_and_one_that_changed_is_told_when_a_run_goes_on(tmp_path):
    disks = {"size_ratio": 0.4, "small_fraction": 0.5, "bulk_modulus": 0.3, "phi_j": 0.8, "dim": 2}
    diagram = tmp_path / "diagram.json"
    diagram.write_text(json.dumps({"rows": [disks]}))
    text = (
        'preset = "lens"\ngrid = [16, 16]\nelements = [4, 4]\nframes = 2\nshard = 1\nlayer = 1\nverified = 0\n'
        f'[mixture]\ndiagram = "{diagram}"\nsize_ratio = 0.4\nsmall_fractions = [0.1, 0.9]\n'
    )
    (tmp_path / "lens.toml").write_text(text)
    with pytest.raises(WavesimError, match=r"is of disks alone, and spheres are asked for: .* --dim 3`$"):
        dataset_config(tmp_path / "lens.toml")
    diagram.write_text(DIAGRAM.read_text())
    config = dataset_config(tmp_path / "lens.toml")
    generate_dataset(config, tmp_path / "out", 3, seed=2, workers=1, progress=False)
    rows = json.loads(diagram.read_text())["rows"]
    diagram.write_text(json.dumps({"rows": [{**row, "bulk_modulus": 1.001 * row["bulk_modulus"]} for row in rows]}))
    changed = dataset_config(tmp_path / "lens.toml")
    with pytest.raises(
        WavesimError, match=r"diagram\.json has changed since .* in \[mixture\] the `points` that"
    ) as told:
        generate_dataset(changed, tmp_path / "out", 3, seed=2, workers=1, progress=False)
    assert "\n" not in str(told.value) and len(str(told.value)) < 400
    kept = json.loads((tmp_path / "out/settings.json").read_text())["config"]["mixture"]["points"]
    (tmp_path / "lens.toml").write_text(f"{text}points = {json.dumps(kept)}\n")
    assert dataset_config(tmp_path / "lens.toml") == config


def test_a_dataset_of_such_lenses_says_its_mixtures_and_runs_again_without_the_diagram(tmp_path):
    (tmp_path / "mine.json").write_text(DIAGRAM.read_text())
    (tmp_path / "lens.toml").write_text(
        'preset = "lens"\ngrid = [16, 16]\nelements = [6, 6]\nframes = 3\nshard = 1\nlayer = 2\nverified = 0\n'
        f'[mixture]\ndiagram = "{tmp_path / "mine.json"}"\nsize_ratio = 0.4\nsmall_fractions = [0.05, 0.9]\n'
    )
    config = dataset_config(tmp_path / "lens.toml")
    assert isinstance(config, LensConfig) and config.mixture is not None
    assert config.mixture.points[0][0] == 0.05 and config.mixture.points[-1][0] == 0.9
    generate_dataset(config, tmp_path / "out", 3, seed=2, workers=1, progress=False)
    (tmp_path / "mine.json").unlink()
    data = WaveDataset(tmp_path / "out", "train")
    again, medium, _ = recall(data.paths[0], 0)
    assert again == config
    np.testing.assert_allclose(medium.cells((16, 16)), data.medium(0), rtol=1e-6)
    assert np.ptp(data.medium(0)[1]) > 0.01  # the density changes with the mixture
    assert "mixtures of size ratio 0.4, X_S 0.05 to 0.9" in (tmp_path / "out/README.md").read_text()
    assert json.loads((tmp_path / "out/settings.json").read_text())["config"]["mixture"]["points"]


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        ('diagram = "no.json"', "no.json does not exist; `wavesim generate diagram`"),
        ("size_ratio = 0.1", r"\[mixture\]: size ratio 0.1 is outside of the diagram, 0.4 to 0.4"),
        ("small_fractions = [0.0, 1.0]", "does not rise or fall all the way"),
        ("small_fractions = [0.0, 2.0]", "mixture.small_fractions.1: Input should be less than or equal to 1"),
        ("ratio = 0.4", "unknown key 'mixture.ratio'; did you mean"),
    ],
)
def test_mixtures_that_cannot_be_are_refused_when_settings_are_read(tmp_path, mixture, words):
    rows = [
        {"size_ratio": 0.4, "small_fraction": x, "bulk_modulus": k, "phi_j": 0.6, "dim": 3}
        for x, k in ((0.0, 0.3), (0.9, 0.6), (1.0, 0.5))
    ]
    (tmp_path / "diagram.json").write_text(json.dumps({"rows": [*rows, {**rows[0], "dim": 2, "size_ratio": 0.1}]}))
    where = "" if "diagram" in mixture else f'diagram = "{tmp_path / "diagram.json"}"\n'
    (tmp_path / "lens.toml").write_text(f'preset = "lens"\n[mixture]\n{where}{mixture}\n')
    with pytest.raises(WavesimError, match=words):
        dataset_config(tmp_path / "lens.toml")
