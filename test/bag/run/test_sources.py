# SPDX-License-Identifier: Apache-2.0
"""Recordings that are no bags, through the whole tool: what the estimator sees is what they hold."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import json

import bags
import made_sources as made
import numpy as np
import pytest

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.plan import describe, make_plan
from da3_ros.bag.plan.sources import settled
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.bag.sources import Reading
from da3_ros.cli.main import main
from da3_ros.messages import decode_depth


class Ran:
    """A run with an estimator that notes what it sees."""

    def __init__(self, source, output, reading=None, load=None, **options):
        self.estimators = []
        options = Options(**{"pictures": 0, **options})
        self.request = Request(source, output, options=options, reading=reading or Reading())
        self.log = []
        self.summary = reprocess(
            self.request, load=load or self.load, log=lambda level, text: self.log.append((level, text))
        )
        self.views = [view for estimator in self.estimators for views in estimator.sets for view in views.views]

    def load(self, model, config):
        self.estimators.append(bags.FakeEstimator(model, config))
        return self.estimators[-1]

    def of(self, camera):
        return [view for view in self.views if view.name == camera]


def check_images(views, camera=0, numbers=range(made.COUNT), tolerance=0):
    assert len(views) == len(numbers)
    for view, number in zip(views, numbers, strict=True):
        expected = made.picture(number, camera)
        assert np.abs(view.image.astype(int) - expected).max() <= tolerance


def check_poses(views, expected):
    for view, pose in zip(views, expected, strict=True):
        assert view.pose_source == "odometry"
        np.testing.assert_allclose(view.pose, pose, atol=1e-6)


def test_euroc_has_lenses_places_and_poses(tmp_path):
    ran = Ran(made.euroc(tmp_path / "MH_01"), tmp_path / "out.mcap")
    assert ran.summary["frames"]["cam1"] == {"received": 6, "used": 6, "dropped": {}}
    for number, (name, model) in enumerate(made.MODELS.items()):
        views = ran.of(name)
        check_images(views, number)
        check_poses(views, made.BODIES @ made.MOUNTS[name])
        assert [view.stamp_ns for view in views] == made.STAMPS
        for view in views:
            np.testing.assert_allclose(view.camera.K, model.K)
            assert view.camera.distortion == model.distortion
            assert view.camera.distortion_model == model.distortion_model
    assert not ran.summary["problems"]
    job = ran.summary["job"]
    assert job["parameters"]["odometry_frame"] == "world"
    assert job["parameters"]["rig_frame"] == "rig"
    sizes = {entry["path"]: entry.get("files") for entry in job["input"]}
    assert str(tmp_path / "MH_01/mav0/cam0/sensor.yaml") in sizes
    assert set(ran.summary["input_sha256"]) == set(sizes)


@pytest.mark.parametrize(
    ("names", "cameras"), [((), ["image_2", "image_3"]), (("image_1", "image_0"), ["image_1", "image_0"])]
)
def test_kitti_with_the_cameras_of_its_reader_or_of_the_user(tmp_path, names, cameras):
    source = made.kitti_odometry(tmp_path)
    with Recording(source) as recording:
        request = Request(source, tmp_path / "out", cameras=names)
        parameters = make_plan(recording, request).parameters
        assert list(parameters.names) == cameras
        with pytest.raises(BagError, match=r"no camera left in the recording; there are image_0, image_1, image_2"):
            make_plan(recording, Request(source, tmp_path / "out", cameras=("left",)))
    if not names:
        ran = Ran(source, tmp_path / "out")
        for camera in (2, 3):
            views = ran.of(f"image_{camera}")
            check_images(views, camera)
            check_poses(views, made.BODIES @ made.pose(np.eye(3), made.BASELINES[camera], 0, 0))
            for number, view in enumerate(views):  # the LiDAR's wall, in the camera's own axes
                np.testing.assert_allclose(np.asarray(view.measured)[:, 2], 4.0 + number, atol=1e-4)


def test_tum_s_depth_is_measured(tmp_path):
    source = made.tum_rgbd(tmp_path / "in")
    (tmp_path / "in" / "rgb.yaml").write_text(made.camera_info_yaml(made.LEFT))
    ran = Ran(source, tmp_path / "out.mcap")
    check_images(ran.of("rgb"))
    measured = [view.measured for view in ran.of("rgb")]
    assert [points is not None for points in measured] == [True] * (made.COUNT - 1) + [True]
    # The last picture has no depth of its own: that of the one before it is near enough in time.
    for number, points in enumerate(measured[:-1]):
        assert np.median(np.asarray(points)[:, 2]) == pytest.approx(1.5 + 0.25 * number, abs=0.02)
    with Recording(source) as recording:
        text = describe(recording, make_plan(recording, ran.request), ran.request.options)
    assert "recording:  a TUM RGB-D folder, 6 pictures" in text
    assert "the metric reference" in text


def test_a_video_in_one_command_gives_a_trajectory_and_a_cloud(tmp_path, capsys):
    path = made.video(tmp_path / "walk.mp4")
    ran = Ran(path, tmp_path / "out.mcap", by_recording=True)
    assert [made.number_of(view.image) for view in ran.estimators[0].sets[0].views] == list(range(0, 16, 2))
    assert ran.summary["job"]["options"]["chunk"] == 8
    assert ran.summary["job"]["options"]["overlap"] == 4
    assert ran.summary["job"]["options"]["loops"] is True
    assert ran.summary["job"]["options"]["scene"] == ("ply",)
    assert len(ran.summary["sets"]) == 15
    for name in ("trajectory.tum", "cloud.ply", "report.html"):
        assert (tmp_path / "out.mcap.da3" / name).exists(), name
    depth = bags.read(tmp_path / "out.mcap", "/da3/camera/depth/image_rect")
    assert len(depth) == 15
    assert np.isfinite(decode_depth(depth[0][1])).any()
    assert main(["bag", str(path), "--dry-run", "--fps", "1"]) == 0
    shown = capsys.readouterr().out
    assert "recording:  a video, 3 pictures" in shown
    assert "none: depth is relative" in shown
    assert "in chunks of 8 sets that share 4" in shown


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (("",), {}, (8, 4, ("ply",))),
        (("a", "b"), {}, (4, 2, ("ply",))),
        (("a", "b", "c", "d", "e"), {}, (2, 1, ("ply",))),
        (("",), {"scene": ("colmap",)}, (8, 4, ("colmap",))),
        (("",), {"batch": 2}, (0, 0, ())),
        (("",), {"window_ahead": 2}, (0, 0, ())),
        (("",), {"by_recording": False}, (0, 0, ())),
    ],
)
def test_what_is_left_to_the_recording(tmp_path, names, options, expected):
    source = made.folder(tmp_path / "in", names, count=2)
    request = Request(source, tmp_path / "out", options=Options(**{"by_recording": True, **options}))
    with Recording(source) as recording:
        found = settled(request, recording).options
    assert (found.chunk, found.overlap, found.scene) == expected
    assert found.by_recording is False
    assert found.loops == bool(found.chunk)


def test_bags_and_windows_of_the_user_are_left_alone(bag, tmp_path):
    request = Request(bag, tmp_path / "out", options=Options(by_recording=True))
    with Recording(bag) as recording:
        assert settled(request, recording).options == Options()
    source = made.folder(tmp_path / "in", ("",), count=2)
    with Recording(source) as recording:
        request = Request(source, tmp_path / "o", assignments=("sync.window:=2",), options=Options(by_recording=True))
        assert settled(request, recording).options == Options()


def test_pictures_of_any_kind_come_as_they_are(tmp_path):
    """Files of JPEG and PNG go on packed, others are decoded, those that lie on their side are turned."""
    made.folder(tmp_path / "bmp", ("",), ".bmp")
    check_images(Ran(tmp_path / "bmp", tmp_path / "out1").of("camera"))
    made.folder(tmp_path / "jpg", ("",), ".jpg")
    check_images(Ran(tmp_path / "jpg", tmp_path / "out2").of("camera"), tolerance=60)
    made.with_orientation(tmp_path / "jpg" / "000002.jpg", 6)
    sizes = [view.image.shape[:2] for view in Ran(tmp_path / "jpg", tmp_path / "out3").of("camera")]
    assert sizes == [(48, 64), (48, 64), (64, 48), (48, 64), (48, 64), (48, 64)]


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_damaged_picture_costs_itself_and_is_said(tmp_path, suffix):
    made.folder(tmp_path / "in", ("",), suffix)
    path = tmp_path / "in" / f"000003{suffix}"
    path.write_bytes(path.read_bytes()[:200])
    ran = Ran(tmp_path / "in", tmp_path / "out")
    check_images(ran.of("camera"), numbers=[0, 1, 2, 4, 5])
    told = json.dumps([ran.summary["problems"], ran.summary["issues"]])
    assert "cut off" in told or "not an image" in told
    assert main(["bag", str(tmp_path / "in"), str(tmp_path / "out"), "--quiet", "--chunk", "0", "--pictures", "0"]) == 1


def test_given_calibrations_and_poses_reach_the_estimator_and_the_job(tmp_path):
    made.folder(tmp_path / "in", ("",))
    (tmp_path / "c.yaml").write_text(made.camera_info_yaml(made.RIGHT))
    poses = made.write_tum(tmp_path / "poses.txt")
    reading = Reading(camera_info=(f"camera={tmp_path}/c.yaml",), poses=poses, fps=20, metres_per_unit=2)
    ran = Ran(tmp_path / "in", tmp_path / "out", reading)
    views = ran.of("camera")
    assert views[0].camera.distortion_model == "equidistant"
    doubled = made.BODIES.copy()
    doubled[:, :3, 3] *= 2
    check_poses(views, doubled)
    assert ran.summary["job"]["options"]["reading"]["poses"] == str(poses)
    with pytest.raises(BagError, match="with another input, options, parameters"):
        Ran(tmp_path / "in", tmp_path / "out", Reading(fps=20))


def test_a_run_goes_on_and_processes_share_it(tmp_path):
    source = made.euroc(tmp_path / "in")
    whole = Ran(source, tmp_path / "whole", segment_sets=2)
    several = Ran(source, tmp_path / "several", segment_sets=2, processes=2, load=bags.load_fake)
    topic = "/da3/cam0/depth/image_rect"
    for (_, one), (_, two) in zip(
        bags.read(tmp_path / "whole", topic), bags.read(tmp_path / "several", topic), strict=True
    ):
        np.testing.assert_array_equal(decode_depth(one), decode_depth(two))
    assert several.summary["frames"] == whole.summary["frames"]
    again = Ran(source, tmp_path / "whole", segment_sets=2)
    assert again.summary["sets"] == whole.summary["sets"]
    assert not again.views


@pytest.mark.parametrize("text", ["chain.yaml", "cam0=chain.yaml"])
def test_what_cannot_be_used_ends_the_command_in_words(tmp_path, capsys, text):
    made.folder(tmp_path / "in", ("",), count=2)
    assert main(["bag", str(tmp_path / "in"), "--dry-run", "--camera-info", text]) == 1
    assert "there is no file" in capsys.readouterr().err


def test_colmap_keeps_its_unit_and_says_so(tmp_path):
    pytest.importorskip("pycolmap")
    source = made.colmap(tmp_path / "in")
    ran = Ran(source, tmp_path / "out")
    views = ran.of("camera")
    check_images(views)
    check_poses(views, made.BODIES @ made.T_BODY_LEFT)
    assert all(view.camera.distortion[:4] == made.LENS for view in views)
    assert any("lengths are in the unit of the model" in text for text in ran.summary["remarks"])
    assert ran.summary["job"]["parameters"]["max_range"] > 50


def test_copied_topics_are_those_of_the_source(tmp_path):
    Ran(made.euroc(tmp_path / "in"), tmp_path / "out", copy=("*",))
    infos = [message for _, message in bags.read(tmp_path / "out", "/cam0/camera_info")]
    assert len(infos) == made.COUNT
    assert infos[0].distortion_model == "plumb_bob"
    assert len(bags.read(tmp_path / "out", "/cam1/image_raw/compressed")) == made.COUNT
    assert len(bags.read(tmp_path / "out", "/tf")) == made.COUNT


def test_an_image_is_told_where_to_go(tmp_path, capsys):
    path = made.write_picture(tmp_path / "a.png", 1)
    assert main(["bag", str(path), "--dry-run"]) == 1
    assert "it may be an image: `da3 images` takes those" in capsys.readouterr().err


def test_the_report_names_folders_with_many_pictures_once(tmp_path):
    made.folder(tmp_path / "in", ("",), count=25)
    summary = Ran(tmp_path / "in", tmp_path / "out").summary
    (entry,) = summary["job"]["input"]
    assert (entry["path"], entry["files"]) == (str(tmp_path / "in"), 25)
    assert len(summary["input_sha256"][entry["path"]]) == 64
    page = (tmp_path / "out.da3" / "report.html").read_text()
    assert f"{entry['bytes']} bytes in 25 files" in page
    made.write_picture(tmp_path / "in" / "000003.png", 40)
    with pytest.raises(BagError, match="with another input"):
        Ran(tmp_path / "in", tmp_path / "out")
