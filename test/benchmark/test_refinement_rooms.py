# SPDX-License-Identifier: Apache-2.0
"""The refinement benchmark's rooms: surfaces that mislead, and a mirror, by their arithmetic."""

from needs import needs

needs("moderngl", "scipy", "tqdm")

import numpy as np
import pytest
from looks import BARS, fence, plain
from mirror import HIGHEST, HUNG, LOWEST, Mirror, distance_to, hang, in_front, reflect

from da3_ros.geometry.poses import invert, transform
from da3_training.scenes.mesh import VERTEX, Mesh

K = np.array([[60.0, 0, 50], [0, 60, 35], [0, 0, 1]])
WIDTH, HEIGHT = 110, 80


def looking_along_x(position, turn=0.0):
    """T_world_camera, world z up; turn: radians to the left."""
    c, s = np.cos(turn), np.sin(turn)
    T = np.eye(4)
    T[:3, :3] = np.stack([[s, -c, 0], [0, 0, -1], [c, s, 0]], axis=1)
    T[:3, 3] = position
    return T


def project(T, points):
    local = transform(invert(T), points)
    return local[:, :2] / local[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2], local[:, 2]


def test_surfaces_in_one_colour_keep_their_holes():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (64, 64, 4), dtype=np.uint8)
    even = plain(pixels)
    assert (even[..., :3] == even[0, 0, :3]).all()
    np.testing.assert_array_equal(even[..., 3], pixels[..., 3])
    assert np.abs(even[0, 0, :3] - pixels[..., :3].mean(axis=(0, 1))).max() <= 1


def test_a_fence_repeats_itself_across_and_not_along_its_bars():
    pixels = np.random.default_rng(0).integers(0, 200, (256, 256, 4), dtype=np.uint8)
    bars = fence(pixels)
    assert (bars == bars[:1]).all() | (bars[..., :3] == bars[:1, :, :3]).all()
    np.testing.assert_array_equal(bars[..., 3], pixels[..., 3])
    period = 256 // BARS
    np.testing.assert_array_equal(bars[:, period:, :3], bars[:, :-period, :3])
    assert bars[0, :, 0].max() > 3 * bars[0, :, 0].min()


def test_the_reflected_camera_sees_what_the_mirror_shows():
    mirror, T = Mirror(0, 4.0, -1.0, 0.0), looking_along_x([1.0, 0.3, 1.4], turn=0.3)
    points = np.random.default_rng(1).uniform([1.5, -1, 0.5], [3.5, 1, 2], (50, 3))
    behind = points * [-1, 1, 1] + [8, 0, 0]  # where a mirror shows them
    seen, depth = project(T, behind)
    k, T_reflected = reflect(mirror, K, T, WIDTH)
    assert np.linalg.det(T_reflected[:3, :3]) == pytest.approx(1)
    local = transform(invert(T_reflected), points)
    found = local[:, :2] / local[:, 2:] * [k[0, 0], k[1, 1]] + k[:2, 2]
    np.testing.assert_allclose(local[:, 2], depth)
    np.testing.assert_allclose(WIDTH - 1 - found[:, 0], seen[:, 0])
    np.testing.assert_allclose(found[:, 1], seen[:, 1])


def test_a_mirror_is_met_from_its_front_and_within_its_frame():
    T = looking_along_x([1.0, 0.0, 1.4])
    depth = distance_to(Mirror(0, 4.0, -1.0, 0.0), K, T, (HEIGHT, WIDTH))
    np.testing.assert_allclose(depth[np.isfinite(depth)], 3.0, rtol=1e-6)
    row, column = np.nonzero(np.isfinite(depth))
    heights = 1.4 - (row - K[1, 2]) / K[1, 1] * 3
    assert (heights.min(), heights.max()) == (pytest.approx(LOWEST, abs=0.06), pytest.approx(HIGHEST, abs=0.06))
    assert np.abs((column - K[0, 2]) / K[0, 0] * 3).max() == pytest.approx(0.9, abs=0.06)
    assert np.isnan(distance_to(Mirror(0, 4.0, 1.0, 0.0), K, T, (HEIGHT, WIDTH))).all()
    assert np.isnan(distance_to(Mirror(0, 0.0, 1.0, 0.0), K, T, (HEIGHT, WIDTH))).all()


def test_the_mirror_hangs_on_the_wall_in_sight():
    bounds = np.zeros(3), np.array([4.0, 6, 3])
    T = looking_along_x([1.0, 2.0, 1.4])
    wall = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    found = hang(wall, K, T, bounds)
    assert (found.axis, found.side) == (0, -1.0)
    assert found.at == pytest.approx(4 - HUNG)
    assert found.centre == pytest.approx(2.0, abs=0.3)
    assert hang(wall - 1, K, T, bounds) is None
    assert hang(np.zeros_like(wall), K, T, bounds) is None


def test_what_lies_behind_the_mirror_is_not_seen_in_it():
    vertices = np.zeros(6, VERTEX)
    vertices["position"][:, 0] = [1, 2, 3, 4.1, 4.2, 4.3]
    triangles = np.array([[0, 1, 2], [2, 3, 4], [3, 4, 5]], np.uint32)
    none = np.zeros((0, 3), np.uint32)
    left = in_front(Mesh(vertices, triangles, none, triangles[2:], []), Mirror(0, 4.0, -1.0, 0.0))
    assert left.opaque.tolist() == triangles[:2].tolist()
    assert len(left.cutout) == len(left.sky) == 0


def test_only_what_a_folder_lacks_is_rendered(tmp_path, monkeypatch):
    import rooms
    from made_rig import ring_case
    from rig_files import read_rig, rig_path

    drawn = []

    def rigs(studio, seed):
        drawn.append((studio, seed))
        case = ring_case(np.random.default_rng(seed))
        for name in ("stereo", "ring of four"):
            yield name, (list(case.views), [truth.depth for truth in case.truth])

    monkeypatch.setattr(rooms, "open_assets", lambda split, *rest: (f"assets of {split}",))
    monkeypatch.setattr(rooms, "LookStudio", lambda *given: given)
    monkeypatch.setattr(rooms.scale_rigs, "rigs", rigs)
    rooms.render_rigs(tmp_path, "train", range(2), "fence")
    assert drawn == [(("assets of train", "train", "fence"), 20_000 + room) for room in range(2)]
    rig_path(tmp_path, "train", 1, "ring", "fence").unlink()
    rooms.render_rigs(tmp_path, "train", range(3), "fence")
    assert [seed for _, seed in drawn[2:]] == [20_001, 20_002]
    rooms.render_rigs(tmp_path, "train", range(3), "fence")
    assert len(drawn) == 4
    assert len(read_rig(rig_path(tmp_path, "train", 2, "stereo", "fence")).views) == 3
