"""Meshes in files: what meshio writes and others read, and files that are none."""

from __future__ import annotations

import meshio
import numpy as np
import pytest
from exact.meshes import distorted, round_mesh, warped

from wavesim.errors import WavesimError
from wavesim.fem.arcs import on_circles
from wavesim.fem.medium import Materials
from wavesim.fem.mesh_files import read_mesh, write_mesh
from wavesim.fem.simulation import assemble, next_frame, start

ENDINGS = [".msh", ".vtu", ".xdmf"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("cells", ["quadrilaterals", "triangles"])
def test_points_cells_and_tags_come_back(tmp_path, ending, cells):
    mesh = distorted(5, cells=cells)
    write_mesh(mesh, tmp_path / f"mesh{ending}")
    found = read_mesh(tmp_path / f"mesh{ending}")
    assert np.allclose(found.points, mesh.points, rtol=0, atol=1e-12)
    assert np.array_equal(found.cells, mesh.cells)
    assert np.array_equal(found.tags, mesh.tags)
    assert not found.curved


@pytest.mark.parametrize("ending", ENDINGS)
def test_curved_cells_come_back_to_the_second_degree(tmp_path, ending):
    mesh = warped(4, degree=2)
    write_mesh(mesh, tmp_path / f"mesh{ending}")
    found = read_mesh(tmp_path / f"mesh{ending}")
    assert np.allclose(found.shape, mesh.shape, rtol=0, atol=1e-12)
    nine = meshio.read(tmp_path / f"mesh{ending}").cells_dict["quad9"]
    assert nine.shape == (16, 9)
    assert len(np.unique(nine)) == 81  # cells share the middles of their edges


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_mesh_that_another_program_wrote_is_read(tmp_path, ending):
    """Cells and tags as meshio itself writes them, lines and points of no cell beside."""
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0], [9, 9, 0]], float)
    blocks = [("line", np.array([[0, 1]])), ("quad", np.array([[0, 1, 2, 3], [1, 2, 5, 4]]))]
    name = "gmsh:physical" if ending == ".msh" else "tags"
    data = {name: [np.array([7]), np.array([3, 5])]}
    if ending == ".msh":
        data["gmsh:geometrical"] = [np.array([1]), np.array([1, 2])]
    options = {"file_format": "gmsh22", "binary": False} if ending == ".msh" else {}
    meshio.write(tmp_path / f"m{ending}", meshio.Mesh(points, blocks, cell_data=data), **options)
    mesh = read_mesh(tmp_path / f"m{ending}")
    assert mesh.points.shape == (6, 2)
    assert mesh.tags.tolist() == [3, 5]
    assert mesh.areas.tolist() == [1, 1]  # the second ran clockwise


def test_files_that_are_no_meshes_are_named_in_one_line(tmp_path):
    def refused(path, match):
        with pytest.raises(WavesimError, match=match) as caught:
            read_mesh(path)
        assert "\n" not in str(caught.value).strip()

    refused(tmp_path / "none.msh", "does not exist")
    (tmp_path / "a.stl").write_text("solid")
    refused(tmp_path / "a.stl", "should end in .msh, .vtu, .xdmf")
    for ending in ENDINGS:
        write_mesh(distorted(3), whole := tmp_path / f"whole{ending}")
        part = tmp_path / f"part{ending}"
        part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        refused(part, "cannot be read as a mesh|holds no cells")
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
    mixed = meshio.Mesh(points, [("quad", np.array([[0, 1, 2, 3]])), ("triangle", np.array([[0, 1, 2]]))])
    meshio.write(tmp_path / "mixed.vtu", mixed)
    refused(tmp_path / "mixed.vtu", "holds quad and triangle")
    lifted = points.copy()
    lifted[2, 2] = 0.5
    meshio.write(tmp_path / "lifted.vtu", meshio.Mesh(lifted, [("quad", np.array([[0, 1, 2, 3]]))]))
    refused(tmp_path / "lifted.vtu", "plane z = constant")


def test_waves_run_on_a_mesh_from_a_file_as_on_the_one_that_wrote_it(tmp_path):
    mesh = on_circles(*round_mesh(2), degree=2)
    write_mesh(mesh, tmp_path / "round.msh")
    fields = []
    for one in (mesh, read_mesh(tmp_path / "round.msh")):
        problem = assemble(Materials((1.0, 4.0), (1.0, 2.0)), one, 0.1, (8, 8), degree=2)
        state = start(problem, lambda x, y: np.exp(-50 * ((x - 0.3) ** 2 + (y - 0.4) ** 2)))
        fields.append(problem.sampling @ next_frame(problem, state).pressure)
    assert np.abs(fields[0] - fields[1]).max() < 1e-10
