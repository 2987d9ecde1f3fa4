# SPDX-License-Identifier: Apache-2.0
"""The 3D view without a browser: what is packed is what was given, thinned to the surest, within its bytes."""

from needs import needs

needs("scipy")

import base64
import json
import re

import numpy as np
import pytest
from scenes3d import a_cloud, a_moment, a_scene

from da3_ros.bag.report import viewer
from da3_ros.bag.report.elements import page
from da3_ros.bag.report.quantise import DOUBT_RANGE, encode_directions, thinned
from da3_ros.bag.report.scene3d import (
    MOST_BYTES,
    PICTURE_BYTES,
    Camera,
    Moment,
    Track,
    moments_for,
    pack,
    read_scene3d,
    up_direction,
    write_scene3d,
)
from da3_ros.bag.report.viewer import PARTS, palette, scene_html
from da3_ros.geometry import CameraModel

Z = np.array([0.0, 0.0, 1.0])


def decoded(scene):
    """Points from the centre of their box."""
    size = np.array(scene.about["size"])
    return scene.positions[:, :3] / 65535 * size - size / 2


def data_of(html):
    """What the page's program reads."""
    return json.loads(re.search(r'<script type="application/json" id="scene3d-data">(.*?)</script>', html, re.S)[1])


def test_points_come_back_to_a_65535th_of_the_box():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 3, (500, 3)).astype(np.float32) + np.float32(400_000)  # as far away as maps put them
    cloud = a_cloud(points)
    scene = pack([a_moment(0, at=points[0])], [cloud], [np.zeros((1, 3))], up=Z, unit="m", note="")
    middle = (points.min(axis=0).astype(float) + points.max(axis=0)) / 2
    found = decoded(scene) + middle
    assert np.abs(found - points).max() <= 0.51 * max(scene.about["size"]) / 65535 + 1e-6
    np.testing.assert_array_equal(scene.shades[:, :3], cloud.colours)
    pose = np.array(scene.about["moments"][0]["views"][0]["pose"]).reshape(3, 4)
    np.testing.assert_allclose(pose[:, 3], points[0] - middle, atol=1e-4)


def test_uncertainty_comes_back_and_what_tells_none_is_marked():
    doubt = np.array([0.001, 0.01, 0.05, 0.3, np.inf, 2.0], np.float32)
    scene = pack([a_moment(0)], [a_cloud(6, doubt=doubt)], [np.zeros((1, 3))], up=Z, unit="m", note="")
    codes = scene.shades[:, 3].astype(float)
    low, high = DOUBT_RANGE
    np.testing.assert_allclose(low * (high / low) ** ((codes[:4] - 1) / 254), doubt[:4], rtol=0.015)
    assert codes[4] == 0
    assert codes[5] == 255
    assert scene.about["doubt"]["kind"] == "stddev"
    assert scene.about["doubt"]["unknown"] == 1


def test_without_standard_deviations_it_is_the_confidence():
    confidence = np.linspace(1, 5, 200).astype(np.float32)
    cloud = a_cloud(200, doubt=np.full(200, np.inf, np.float32), confidence=confidence)
    scene = pack([a_moment(0)], [cloud], [np.zeros((1, 3))], up=Z, unit="m", note="")
    said = scene.about["doubt"]
    assert said["kind"] == "confidence"
    assert (said["low"], said["high"]) == pytest.approx((1.08, 4.92), abs=0.03)
    assert (np.diff(scene.shades[:, 3].astype(int)) >= 0).all()
    assert scene.shades[0, 3] == 1
    assert scene.shades[-1, 3] == 255


def test_directions_come_back_to_a_degree():
    rng = np.random.default_rng(1)
    vectors = np.vstack([rng.normal(size=(3000, 3)), np.eye(3), -np.eye(3)])
    words = encode_directions(5 * vectors)
    x, y = words // 256 / 255 * 2 - 1, words % 256 / 255 * 2 - 1  # as viewer.js unfolds them
    z = 1 - np.abs(x) - np.abs(y)
    below = z < 0
    x, y = (
        np.where(below, (1 - np.abs(y)) * np.where(x < 0, -1, 1), x),
        np.where(below, (1 - np.abs(x)) * np.where(y < 0, -1, 1), y),
    )
    found = np.stack([x, y, z], axis=1)
    cosines = np.sum(found * vectors, axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(vectors, axis=1)
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() < 1.0


def test_each_point_knows_the_side_it_was_seen_from():
    cloud = a_cloud(np.array([[0, 0, 0], [1, 0, 0]], np.float32), view=np.array([0, 1]))
    centres = np.array([[0, 0, 5.0], [1.0, 0, -5]])
    scene = pack([a_moment(0)], [cloud], [centres], up=Z, unit="m", note="")
    assert list(scene.positions[:, 3]) == list(encode_directions(np.array([[0, 0, 1.0], [0, 0, -1.0]])))


def test_thinning_keeps_the_surest_of_each_place():
    rng = np.random.default_rng(2)
    flat = rng.uniform(0, 10, (20_000, 3)).astype(np.float32)
    flat[:, 2] = 0
    doubt = rng.uniform(0.01, 0.2, len(flat)).astype(np.float32)
    doubt[:5000], confidence = 0.05, rng.uniform(1, 5, len(flat)).astype(np.float32)
    kept = thinned(a_cloud(flat, doubt=doubt, confidence=confidence), 2000)
    assert 1700 <= len(kept.points) <= 2000
    assert np.median(kept.doubt) < 0.6 * np.median(doubt)
    cells = np.floor(kept.points[:, :2]).astype(int)  # the whole of it is still there
    assert len(np.unique(cells, axis=0)) == 100
    best = np.lexsort((-confidence, doubt))[0]
    assert (kept.points == flat[best]).all(axis=1).any()
    few = a_cloud(flat[:50])
    assert thinned(few, 50) is few


def test_points_at_few_places_are_thinned_as_well():
    """The grid cannot tell them apart however fine it is; nor may it keep too many far apart ones."""
    doubles = np.repeat(np.eye(3, dtype=np.float32), 1000, axis=0)
    assert len(thinned(a_cloud(doubles), 100).points) == 3
    spread = (10.0 ** np.arange(-4, 5, 0.01)).astype(np.float32)
    assert 1 <= len(thinned(a_cloud(np.stack([spread] * 3, axis=1)), 100).points) <= 100


@pytest.mark.parametrize("stray", [(1e6, 0, 0), (0, 0, -80), (0, 80, 0), (np.nan, 0, 0), (0, np.inf, 0)])
def test_a_point_far_from_all_others_does_not_take_their_place_away(stray):
    """16 bits tell a 65535th of the box: of one with a point a thousand kilometres away that is 15 metres."""
    points = np.random.default_rng(6).uniform(-1, 1, (800, 3)).astype(np.float32)
    near = a_cloud(np.vstack([points, [[0, 30, 0]]]).astype(np.float32))  # far, but not as far
    far = a_cloud(np.vstack([points, [stray]]).astype(np.float32))
    scene = pack([a_moment(0)], [far], [np.zeros((1, 3))], up=Z, unit="m", note="one set.")
    assert len(scene.positions) == 800
    assert scene.about["note"] == "one set. 1 points far from all others are left out."
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    np.testing.assert_allclose(decoded(scene) + middle, points, atol=1e-4)
    both = [a_moment(0), a_moment(1)]
    scene = pack(both, [far, near], [np.zeros((1, 3))] * 2, up=Z, unit="m", note="x")
    assert [each["points"] for each in scene.about["moments"]] == [[0, 800], [800, 801]]


def test_scenes_of_next_to_nothing_can_be_looked_at():
    """One point where the camera is, and points that all are at one place but one."""
    for points in (np.zeros((1, 3)), np.vstack([np.zeros((9, 3)), np.ones((1, 3))])):
        about = pack([a_moment(0)], [a_cloud(points.astype(np.float32))], [np.zeros((1, 3))], up=Z, unit="m", note="")
        start = about.about["start"]
        assert start["reach"][0] > 0
        assert np.linalg.norm(np.subtract(start["eye"], start["target"])) > 0
        assert len(about.positions) == len(points)


def test_spacing_heights_and_cameras_are_those_of_the_scene():
    """A wall of points a tenth apart from 100 to 110 above the world's origin, 3 before the camera, which is level."""
    x, z = np.meshgrid(np.linspace(-2, 2, 41), np.linspace(100, 110, 101))
    wall = np.stack([x.ravel(), np.full(x.size, 3.0), z.ravel()], axis=1).astype(np.float32)
    level = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 105], [0, 0, 0, 1]])
    at = Moment(0, 0.0, (Camera("a", CameraModel.pinhole(64, 48, 50.0, 40.0, 30.0, 20.0), level),))
    about = pack([at], [a_cloud(wall)], [level[None, :3, 3]], up=Z, unit="m", note="").about
    assert about["spacing"] == pytest.approx(0.1, rel=1e-3)
    assert about["height"] == pytest.approx({"low": -4.8, "high": 4.8, "of_centre": 105}, abs=0.05)
    assert about["frustum"] == pytest.approx(
        0.06 * np.median(np.hypot(3, np.hypot(wall[:, 0], wall[:, 2] - 105))), rel=0.03
    )
    (view,) = about["moments"][0]["views"]
    np.testing.assert_allclose(view["edges"], [-30.5 / 50, 33.5 / 50, -20.5 / 40, 27.5 / 40], rtol=1e-5)
    np.testing.assert_allclose(np.reshape(view["pose"], (3, 4))[:, 3], [0, -3, 0], atol=1e-5)


def test_what_cannot_be_drawn_is_refused_and_what_is_too_much_left_out():
    few = [a_cloud(10)], [np.zeros((1, 3))]
    with pytest.raises(ValueError, match=r"the moments \[7\] have no camera"):
        pack([a_moment(0), Moment(7, 1.0, ())], *few, up=Z, unit="m", note="")
    many = [Track(f"{k}", [0.0, 1.0], np.zeros((2, 3))) for k in range(4001)]
    about = pack([a_moment(0)], *few, up=Z, unit="m", note="", tracks=many).about
    assert {len(track["seconds"]) for track in about["tracks"]} == {1}
    large = (bytes(PICTURE_BYTES), b"1")
    scene = pack([a_moment(0, pictures=large)], *few, up=Z, unit="m", note="")
    assert scene.pictures == ()
    assert len(scene.positions) == 10


def test_the_largest_scene_fits_into_its_bytes():
    """A cloud of a million points, pictures that are noise, six cameras with long paths."""
    rng = np.random.default_rng(3)
    points = rng.uniform(-30, 30, (1_000_000, 3)).astype(np.float32)
    noise = tuple(rng.bytes(9_000) for _ in range(2))
    moments = [a_moment(i, cameras=6, pictures=noise) for i in range(120)]
    seconds = np.arange(30_000) / 7
    tracks = [Track(f"camera {i}", seconds, rng.normal(0, 1e4, (len(seconds), 3))) for i in range(6)]
    scene = pack(moments, [a_cloud(points)], [np.zeros((1, 3))], up=Z, unit="m", note="x", tracks=tracks)
    assert sum(map(len, scene.pictures)) <= PICTURE_BYTES
    assert len(scene.about["moments"]) == 15  # of 120, halved until the pictures fit
    size = len(scene_html(scene).encode())
    assert 0.8 * MOST_BYTES < size <= MOST_BYTES
    alone = pack(moments[:16], [a_cloud(points[:40_000])] * 16, [np.zeros((1, 3))] * 16, up=Z, unit="m", note="x")
    assert alone.about["alone"]
    assert len(scene_html(alone).encode()) <= MOST_BYTES


def test_sets_shown_alone_have_their_own_points():
    clouds = [a_cloud(10), a_cloud(30), a_cloud(20)]
    scene = pack([a_moment(i) for i in range(3)], clouds, [np.zeros((1, 3))] * 3, up=Z, unit="units", note="")
    assert [each["points"] for each in scene.about["moments"]] == [[0, 10], [10, 30], [40, 20]]
    with pytest.raises(ValueError, match="2 clouds for 3 moments"):
        pack([a_moment(i) for i in range(3)], clouds[:2], [np.zeros((1, 3))] * 2, up=Z, unit="m", note="")
    with pytest.raises(ValueError, match="0 points and 1 moments: there is nothing to show"):
        pack([a_moment(0)], [a_cloud(0)], [np.zeros((1, 3))], up=Z, unit="m", note="")


def test_up_is_z_of_a_robot_and_else_that_of_the_cameras():
    tilted = np.eye(4)
    assert list(up_direction([tilted], is_ros_frame=True)) == [0, 0, 1]
    assert list(up_direction([tilted], is_ros_frame=False)) == [0, -1, 0]
    # Where nothing tells, z is up for cameras that look ahead in a world with z up, not for one that looks along z.
    ahead = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    down = np.radians(40)
    pitched = np.eye(4)
    pitched[1:3, 1:3] = [[np.cos(down), -np.sin(down)], [np.sin(down), np.cos(down)]]
    assert list(up_direction([ahead, ahead @ pitched], is_ros_frame=None)) == [0, 0, 1]
    assert list(up_direction([tilted], is_ros_frame=None)) == [0, -1, 0]
    upside_down = np.diag([1.0, -1.0, -1.0, 1.0])
    assert list(up_direction([tilted, upside_down], is_ros_frame=False)) == [0, 0, 1]  # they do not tell


def test_the_first_look_has_all_in_sight_or_is_that_of_the_cameras():
    """Cameras that stand together: a little behind and above them. One that walks round: from above, behind it."""
    rng = np.random.default_rng(4)
    wall = np.column_stack([rng.uniform(-2, 2, (4000, 2)), np.full(4000, 6.0)]).astype(np.float32)
    up = np.array([0.0, -1.0, 0.0])
    still = pack([a_moment(0)], [a_cloud(wall)], [np.zeros((1, 3))], up=up, unit="m", note="").about
    centre = np.array([*(wall.min(axis=0) + wall.max(axis=0)) / 2])
    eye, target = (np.array(still["start"][name]) + centre for name in ("eye", "target"))
    np.testing.assert_allclose(target, (0, 0, 6), atol=0.2)
    assert -1.5 < eye[2] < -0.5
    assert -1 < eye[1] < -0.5  # y is down
    walk = [a_moment(k, at=(4 * k, 0, 0)) for k in range(4)]
    moved = pack(walk, [a_cloud(wall)], [np.zeros((1, 3))], up=up, unit="m", note="").about
    eye, target = (np.array(moved["start"][name]) + centre for name in ("eye", "target"))
    away = np.linalg.norm(eye - target)
    assert away > 12 * 0.9  # as far as the last camera is
    assert (target - eye)[1] > 0.7 * away  # downwards
    assert eye[2] < 0  # and from behind


def test_more_cameras_have_fewer_stops():
    assert [moments_for(n) for n in (0, 1, 2, 4, 1000)] == [120, 120, 120, 60, 1]


def test_a_file_gives_the_same_scene(tmp_path):
    scene = a_scene()
    found = read_scene3d(write_scene3d(tmp_path / "scene.npz", scene))
    assert found.about == scene.about
    assert found.pictures == scene.pictures
    assert len(found.pictures) == 8
    np.testing.assert_array_equal(found.positions, scene.positions)
    np.testing.assert_array_equal(found.shades, scene.shades)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.npz"]
    (tmp_path / "cut.npz").write_bytes((tmp_path / "scene.npz").read_bytes()[:500])
    with pytest.raises(Exception, match="zip"):
        read_scene3d(tmp_path / "cut.npz")


def test_the_page_holds_all_of_it_and_loads_nothing():
    scene = a_scene(note="a & b", name="</script><b>")
    html = scene_html(scene)
    data = data_of(html)
    assert data["about"] == scene.about
    assert base64.b64decode(data["positions"]) == scene.positions.tobytes()
    assert base64.b64decode(data["shades"]) == scene.shades.tobytes()
    assert [base64.b64decode(each) for each in data["pictures"]] == list(scene.pictures)
    assert html.count("</script>") == 3
    assert "a &amp; b" in html
    without = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert not re.search(r"https?:|src=|href=|@import|url\(", without)
    assert "needs JavaScript" in without  # in sight until the program hides it
    whole = page("x", html)
    assert "default-src 'none'; img-src data:" in whole
    # Nothing in the programs that asks for an address; three.js names one, the namespace of XHTML.
    programs = "".join((viewer._HERE / name).read_text(encoding="utf-8") for name in PARTS)
    assert set(re.findall(r"https?://[^\"'`\s)]+", programs)) == {"http://www.w3.org/1999/xhtml"}


def test_three_js_brings_its_licence():
    text = (viewer._HERE / "three.bundle.js").read_text(encoding="utf-8")
    assert text.startswith("/*! three.js ")
    assert "Permission is hereby granted, free of charge" in text[:2000]
    assert "</script" not in text.lower()
    assert "<!--" not in text


def test_the_colours_of_scales_are_those_of_depth_pictures():
    from da3_ros.visual import depth_to_color

    ends = depth_to_color(np.array([[1.0, 2.0]], np.float32), 1.0, 2.0)[0] / 255
    near, far = palette()[-1], palette()[0]
    np.testing.assert_allclose([near, far], ends, atol=0.01)
