# SPDX-License-Identifier: Apache-2.0
"""What lies beside an output, read back by others: cloud by trimesh, COLMAP's text, Rerun's recording."""

from needs import needs

needs("mcap", "rosbags", "scipy", "trimesh")

import sys
from dataclasses import replace

import bags
import cv2
import numpy as np
import pytest
import trimesh
from fake_estimator import HEIGHT, WIDTH

from da3_ros.bag.errors import BagError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.bag.scene.fusion import Fusion
from da3_ros.estimation import PoseEstimate, ViewEstimate
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert, matrix_from_quaternion

KINDS = ("ply", "colmap")


@pytest.fixture(scope="module")
def beside(bag, tmp_path_factory):
    """The folder beside an output with everything in it; the robot's odometry gives the world."""
    output = tmp_path_factory.mktemp("scene") / "out"
    assignments = ("odometry_frame:=odom", "cloud.rate:=0", "cloud.voxel_size:=0.01")
    request = Request(bag, output, assignments=assignments, options=Options(scene=KINDS, segment_sets=2))
    reprocess(request, load=bags.load_fake)
    return output.parent / "out.da3"


def camera_poses():
    """T_odom_camera of every view, as the recording has them."""
    for index in range(6):
        for camera, shift in (("left", 0), ("right", 1_000_000)):
            stamp = bags.START + index * bags.PERIOD + shift
            T_odom_base = np.eye(4)
            T_odom_base[0, 3] = (stamp - bags.START) / 1e9
            yield camera, stamp, T_odom_base @ bags.POSES[camera]


def test_poses_of_each_camera(beside):
    for name in ("left", "right"):
        rows = np.loadtxt(beside / f"poses_{name}.tum")
        truth = [pose for camera, _, pose in camera_poses() if camera == name]
        np.testing.assert_allclose(rows[:, 1:4], [pose[:3, 3] for pose in truth], atol=2e-3)
        np.testing.assert_allclose(matrix_from_quaternion(rows[0, 4:]), truth[0][:3, :3], atol=1e-6)


def test_the_cloud_stands_where_the_cameras_saw_it(beside):
    cloud = trimesh.load(beside / "cloud.ply")
    assert len(cloud.vertices) > 1000
    assert cloud.colors.shape == (len(cloud.vertices), 4)
    # Every view sees a slope from 2 to 3 m before it, looking along x; the robot goes from 0 to 0.5 m.
    assert 1.95 < cloud.vertices[:, 0].min() < cloud.vertices[:, 0].max() < 3.55
    cells = np.unique(np.floor(cloud.vertices / 0.01).astype(int), axis=0)
    assert len(cells) > 0.97 * len(cloud.vertices)


def test_colmap_points_lie_on_the_pixels_of_its_images(beside):
    folder = beside / "colmap"

    def rows(name):
        lines = (folder / "sparse" / "0" / f"{name}.txt").read_text().splitlines()
        return [line.split() for line in lines if line and not line.startswith("#")]

    images = rows("images")
    assert len(images) == len(rows("cameras")) == 12
    truth = {f"{camera}/{stamp}.jpg": pose for camera, stamp, pose in camera_poses()}
    for image, camera in zip(images, rows("cameras"), strict=True):
        qw, qx, qy, qz, *translation = (float(value) for value in image[1:8])
        T_camera_world = invert(truth[image[9]])
        np.testing.assert_allclose(
            matrix_from_quaternion(np.array([qx, qy, qz, qw])), T_camera_world[:3, :3], atol=1e-6
        )
        np.testing.assert_allclose(translation, T_camera_world[:3, 3], atol=2e-3)
        picture = cv2.imread(str(folder / "images" / image[9]))
        assert picture.shape[:2] == (int(camera[3]), int(camera[2])) == (bags.H, bags.W)
    points = np.array([row[1:4] for row in rows("points3D")], float)
    assert len(points) > 1000


@pytest.mark.slow
def test_rerun_reads_its_recording(bag, tmp_path):
    rerun = pytest.importorskip("rerun", reason="the extra `make env EXTRAS=interop` is not installed")
    request = Request(bag, tmp_path / "out", assignments=("odometry_frame:=odom",), options=Options(scene=("rerun",)))
    reprocess(request, load=bags.load_fake)
    path = tmp_path / "out.da3" / "scene.rrd"
    assert not path.with_name("scene.rrd.tmp").exists()
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "verify", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", str(path)], capture_output=True, text=True, check=True
    )
    for entity in ("/world/cloud", "/world/left/image/rgb", "/world/right/image/depth", "/world/path/left"):
        assert entity in done.stdout + done.stderr, entity
    assert rerun.__version__


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scene": KINDS}, "need the motion of the cameras: add --chunk N, set odometry_frame"),
        ({"scene": KINDS, "outputs": ("odometry", "*/depth/*")}, "are made of /da3/left/confidence/image"),
    ],
)
def test_what_cannot_be_made_is_refused_at_once(bag, tmp_path, options, text):
    estimators = []

    def load(model, config):
        estimators.append(bags.load_fake(model, config))
        return estimators[-1]

    with pytest.raises(BagError, match=text):
        reprocess(Request(bag, tmp_path / "out", options=Options(**options)), load=load)
    assert not estimators


def test_missing_rerun_is_said_before_the_run(bag, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    request = Request(bag, tmp_path / "out", assignments=("odometry_frame:=odom",), options=Options(scene=("rerun",)))
    with pytest.raises(BagError, match=r"--rerun needs Rerun's SDK .*pip install rerun-sdk"):
        reprocess(request, load=bags.load_fake)


def before_a_wall(number, step=0.1):
    """A camera that looks at a flat wall 2 m before it, a step to the right of the one before."""
    camera = CameraModel.pinhole(WIDTH, HEIGHT, 80.0, 80.0, WIDTH / 2, HEIGHT / 2)
    pose = np.eye(4)
    pose[0, 3] = step * number
    confidence = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    image = np.full((HEIGHT, WIDTH, 3), 50 * number, np.uint8)
    known = PoseEstimate(pose, "matches", np.eye(6))
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    return ViewEstimate(f"v{number}", number, image, depth, confidence, camera, known)


def test_the_surest_point_of_a_voxel_stays():
    """The second camera is the surest, whatever its confidence; where none says how sure it is, confidence counts."""
    views = [before_a_wall(number) for number in range(3)]
    views[0].confidence[:] = 5.0
    sigmas = 0.1, 0.02, 0.1
    told = [replace(view, stddev=np.full_like(view.depth, own)) for view, own in zip(views, sigmas, strict=True)]
    cloud, silent = (Fusion(each, voxel=0.2).cloud() for each in (told, views))
    # Both see most of the wall: its middle is that of the second camera, or of the first one.
    middle = np.abs(cloud.points[:, 0] - 0.1) < 0.3
    assert set(cloud.view[middle]) == {1}
    assert set(silent.view[np.abs(silent.points[:, 0] - 0.05) < 0.25]) == {0}


def test_a_fifth_of_each_view_is_left_out_the_least_sure():
    view = before_a_wall(0)
    stddev = np.full_like(view.depth, 0.1)
    stddev[:5], stddev[5:30] = 0.3, 0.2
    view.confidence[5:11] = 1.0  # it counts among those that are alike
    cloud = Fusion([replace(view, stddev=stddev)], voxel=1e-3).cloud()
    assert 11 < HEIGHT / 5 < 12
    assert len(np.unique(cloud.points[:, 1].round(4))) == HEIGHT - 11
    assert cloud.doubt.max() == pytest.approx(0.1)
    assert cloud.confidence.min() == 2.0
    wanted = Fusion([replace(view, stddev=stddev)], voxel=1e-3, max_stddev=0.07).cloud()
    assert wanted.doubt.max() == pytest.approx(0.05)


def test_most_of_those_that_see_a_place_must_agree():
    """Six cameras before a wall; a board that only some of them see before it."""
    for seen, stays in ((3, False), (4, True)):
        views = [before_a_wall(number, 0.02) for number in range(6)]
        for view in views[:seen]:
            view.depth[:] = 1.0
        points = Fusion(views, voxel=0.02).cloud().points
        all_see = np.abs(points[:, 0] - 0.05) < 0.2
        assert (np.abs(points[all_see, 2] - 1.0) < 1e-5).any() == stays, seen


def test_the_parameter_of_the_cloud_holds_for_a_recording(beside, bag, tmp_path):
    """The fake estimator is sure to a tenth: that is in its output, and the scene reads it from there."""
    counts = []
    for share in (0.11, 0.09):
        assignments = ("odometry_frame:=odom", "cloud.voxel_size:=0.01", f"cloud.max_stddev:={share}")
        output = tmp_path / f"out_{share}"
        reprocess(Request(bag, output, assignments=assignments, options=Options(scene=("ply",))), load=bags.load_fake)
        path = output.parent / f"{output.name}.da3" / "cloud.ply"
        counts.append(int(path.read_bytes().split(b"element vertex ")[1].split()[0]))
    assert counts == [len(trimesh.load(beside / "cloud.ply").vertices), 0]


def test_what_other_views_contradict_is_left_out():
    """A flat wall 2 m before four cameras; one of them sees something at 1 m that is not there."""
    views = [before_a_wall(number) for number in range(4)]
    views[1].depth[20:30, 30:40] = 1.0
    for view in views:
        view.confidence[:5] = 1.1
    cloud = Fusion(views, voxel=0.02, min_confidence=1.5).cloud()
    np.testing.assert_allclose(cloud.points[:, 2], 2.0, atol=1e-5)
    assert cloud.confidence.min() == 2.0
    assert len(cloud.points) > 2000
    assert set(cloud.colours[:, 0]) <= {0, 50, 100, 150}
    alone = Fusion(views[1:2], voxel=0.02).cloud()
    assert (np.abs(alone.points[:, 2] - 1.0) < 1e-5).any()  # nobody contradicts it
