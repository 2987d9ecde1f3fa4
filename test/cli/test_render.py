# SPDX-License-Identifier: Apache-2.0
"""``da3 render`` from a file of Gaussians to videos and images."""

from needs import needs

needs("scipy", "tqdm")

import cv2
import numpy as np
import pytest
from made_gaussians import by_brute_force, one_gaussian, some_gaussians, together

from da3_ros.cli.main import main
from da3_ros.files.gaussians import read_gaussian_ply, write_gaussian_ply
from da3_ros.geometry import CameraModel

SMALL = ["--size", "64x48", "--quiet", "--renderer", "cpu"]


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "gaussians.ply"
    write_gaussian_ply(path, some_gaussians(5, 120, 2, middle=(0, 0, 4), sizes=(0.05, 0.5)))
    return path


def trajectory(path, *lines):
    path.write_text("".join(f"{line}\n" for line in ("# seconds x y z qx qy qz qw", *lines)))
    return str(path)


def test_one_image_is_what_the_formulas_say(scene, tmp_path, capsys):
    out, camera = tmp_path / "a.png", ["--camera", "50", "52", "30", "25"]
    more = ["--background", "1", "0.5", "0", "--antialiased", "--near", "0.5"]
    assert main(["render", str(scene), "-o", str(out), *SMALL, *camera, *more]) == 0
    model = CameraModel.pinhole(64, 48, 50, 52, 30, 25)
    gaussians = read_gaussian_ply(scene)
    colour, *_ = by_brute_force(gaussians, model, np.eye(4), background=(1, 0.5, 0), near=0.5, antialiased=True)
    found = cv2.imread(str(out))[..., ::-1].astype(float)
    np.testing.assert_allclose(found, 255 * np.clip(colour, 0, 1), atol=0.6)
    said = capsys.readouterr().out
    assert f"{out}: 1 frame of 64x48, 120 Gaussians on the CPU, " in said
    assert "s a frame" in said


@pytest.mark.parametrize("name", ["orbit", "wobble", "spiral"])
def test_videos_of_computed_trajectories(scene, tmp_path, name):
    out = tmp_path / "a.mp4"
    command = ["render", str(scene), "-o", str(out), "--trajectory", name, "--frames", "4", "--fps", "8", *SMALL]
    assert main(command) == 0
    video = cv2.VideoCapture(str(out))
    if not video.isOpened():
        pytest.skip("this OpenCV reads no video")
    images = [video.read()[1] for _ in range(4)]
    assert video.read()[1] is None
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(8)
    assert np.abs(images[0].astype(int) - images[1]).mean() > 1


def test_a_file_of_poses_places_the_camera(tmp_path, capsys):
    """A mark at (1, 0, 2) is ahead of the camera at (1, 0, 0), and of the one at (-1, 0, 2) that looks along +x."""
    path = tmp_path / "g.ply"
    write_gaussian_ply(path, one_gaussian((1, 0, 2), 0.05, (1, 1, 1), 0.9))
    half = np.sqrt(0.5)
    poses = trajectory(tmp_path / "t.txt", "0 1 0 0 0 0 0 1", f"1 -1 0 2 0 {half} 0 {half}", "2 0 0 0 0 0 0 1")
    out = tmp_path / "out"
    options = ["--trajectory", poses, "--camera", "40", "40", "32", "24", "--arrays"]
    assert main(["render", str(path), "-o", str(out), *options, *SMALL]) == 0
    arrays = [np.load(out / f"frame_{i:06d}.npz") for i in range(3)]
    assert len(list(out.glob("frame_*.png"))) == 3
    for i, (depth, pixel) in enumerate([(2, (24, 32)), (2, (24, 32)), (2, (24, 52))]):
        assert arrays[i]["depth"][pixel] == pytest.approx(depth, rel=1e-3)
        assert arrays[i]["alpha"].argmax() == np.ravel_multi_index(pixel, (48, 64))
        assert np.isnan(arrays[i]["depth"][0, 0])
    np.testing.assert_allclose(arrays[1]["T_world_camera"][:3, 3], [-1, 0, 2])
    np.testing.assert_allclose(arrays[0]["K"], [[40, 0, 32], [0, 40, 24], [0, 0, 1]])
    assert "3 frames" in capsys.readouterr().out


def test_frames_lie_between_the_poses_of_a_file(scene, tmp_path):
    angle = np.radians(30) / 2
    turned = f"4 2 0 0 0 {np.sin(angle)} 0 {np.cos(angle)}"
    poses, out = trajectory(tmp_path / "t.txt", "0 0 0 0 0 0 0 1", turned), tmp_path / "out"
    command = ["render", str(scene), "-o", str(out), "--trajectory", poses, "--frames", "3", "--arrays", *SMALL]
    assert main(command) == 0
    middle = np.load(out / "frame_000001.npz")["T_world_camera"]
    np.testing.assert_allclose(middle[:3, 3], [1, 0, 0])
    np.testing.assert_allclose(middle[:3, 2], [np.sin(np.radians(15)), 0, np.cos(np.radians(15))], atol=1e-9)


def test_as_many_frames_as_poses_lie_evenly_as_well(scene, tmp_path):
    still = "0 0 0 0 1"
    poses, out = trajectory(tmp_path / "t.txt", f"0 0 0 {still}", f"1 1 0 {still}", f"4 2 0 {still}"), tmp_path / "out"
    command = ["render", str(scene), "-o", str(out), "--trajectory", poses, "--arrays", "--overwrite", *SMALL]
    for more, x in (["--frames", "3"], 4 / 3), ([], 1.0):
        assert main([*command, *more]) == 0
        assert np.load(out / "frame_000001.npz")["T_world_camera"][0, 3] == pytest.approx(x)


def test_without_intrinsics_the_axis_goes_through_the_middle(tmp_path):
    path, out = tmp_path / "g.ply", tmp_path / "out"
    write_gaussian_ply(path, one_gaussian((0, 0, 2), 0.05))
    poses = trajectory(tmp_path / "t.txt", "0 0 0 0 0 0 0 1")
    assert main(["render", str(path), "-o", str(out), "--trajectory", poses, "--arrays", *SMALL]) == 0
    alpha = np.load(out / "frame_000000.npz")["alpha"]
    np.testing.assert_allclose(alpha, alpha[::-1, ::-1], atol=1e-6)


def test_intrinsics_of_another_size_are_told_of(scene, tmp_path, capsys):
    command = ["render", str(scene), "-o", str(tmp_path / "a.png"), "--overwrite", *SMALL, "--camera"]
    for camera, doubtful in (("50 50 32 24", False), ("500 500 320 240", True), ("50 50 32 40", True)):
        assert main([*command, *camera.split()]) == 0
        assert ("in pixels of --size, and not of a larger or smaller image?" in capsys.readouterr().err) == doubtful


def test_arrays_are_whole_or_not_there(scene, tmp_path, capsys, monkeypatch):
    def fail(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    assert main(["render", str(scene), "-o", str(tmp_path / "out"), "--frames", "1", "--arrays", *SMALL]) == 1
    assert "No space left on device: " in (error := capsys.readouterr().err)
    assert "frame_000000.npz" in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["frame_000000.png"]


def test_nothing_is_overwritten_unless_asked_for(scene, tmp_path, capsys):
    for name in ("a.png", "a.mp4", "folder"):
        command = ["render", str(scene), "-o", str(tmp_path / name), "--frames", "1", *SMALL]
        assert main(command) == 0
        assert main(command) == 1
        assert "already" in capsys.readouterr().err
        assert main([*command, "--overwrite"]) == 0
    assert len(list((tmp_path / "folder").iterdir())) == 1


def test_a_scene_elsewhere_is_looked_at_and_it_is_said(tmp_path, capsys):
    path = tmp_path / "g.ply"
    write_gaussian_ply(path, some_gaussians(5, 120, middle=(30, 0, -4), extent=1, sizes=(0.1, 0.5)))
    assert main(["render", str(path), "-o", str(tmp_path / "a.png"), *SMALL]) == 0
    assert "the origin sees little of the scene" in capsys.readouterr().err
    assert cv2.imread(str(tmp_path / "a.png")).mean() > 10


def test_a_camera_that_sees_nothing_is_told_of(scene, tmp_path, capsys):
    poses = trajectory(tmp_path / "t.txt", "0 0 0 100 0 0 0 1")
    assert main(["render", str(scene), "-o", str(tmp_path / "a.png"), "--trajectory", poses, *SMALL]) == 0
    assert "Gaussians cover 0.0 % of the fullest frame" in capsys.readouterr().err
    poses = trajectory(tmp_path / "t.txt", "0 0 0 100 0 0 0 1", "1 0 0 0 0 0 0 1")  # of one that sees something later
    assert main(["render", str(scene), "-o", str(tmp_path / "out"), "--trajectory", poses, *SMALL]) == 0
    assert "Gaussians cover" not in capsys.readouterr().err


def test_the_field_of_view_is_the_horizontal_one(tmp_path):
    """Marks at 29.5 degrees to the sides and upwards: 60 degrees see those at the sides, 64 x 48 pixels no others."""
    path, tangent = tmp_path / "g.ply", np.tan(np.radians(29.5))
    marks = [one_gaussian((x, y, 1), 0.01, (1, 1, 1)) for x, y in ((tangent, 0), (-tangent, 0), (0, tangent))]
    write_gaussian_ply(path, together(*marks))
    out = tmp_path / "out"
    poses = trajectory(tmp_path / "t.txt", "0 0 0 0 0 0 0 1")
    for fov, lit in (("60", 2), ("80", 3), ("50", 0)):
        command = ["render", str(path), "-o", str(out), "--trajectory", poses, "--fov", fov, "--overwrite", *SMALL]
        assert main(command) == 0
        image = cv2.imread(str(out / "frame_000000.png"), cv2.IMREAD_GRAYSCALE)
        assert cv2.connectedComponents((image > 30).astype(np.uint8))[0] - 1 == lit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trajectory", "dolly"], "no such file; allowed are orbit, wobble, spiral"),
        (["--trajectory", "{folder}/none.txt"], "has no poses"),
        (["--trajectory", "{folder}/still.txt", "--frames", "5"], "nothing lies between them: leave --frames out"),
        (["--trajectory", "{folder}/still.txt"], "one image, for 2 frames"),
        (["--fov", "180"], "allowed are 1 to 170"),
        (["--frames", "0"], "--frames 0"),
        (["--trajectory", "{folder}/binary"], "binary is no text in UTF-8"),
        (["--fps", "0"], "--fps 0: allowed are 0.01 to 1000"),
        (["--fps", "nan"], "--fps nan: allowed are"),
        (["--fps", "1001"], "--fps 1001: allowed are"),
        (["--near", "0"], "near 0"),
        (["--background", "0", "0", "255"], "0 to 1"),
        (["--camera", "0", "50", "32", "24"], "focal lengths must be positive"),
        (["--arrays"], "name a folder"),
        (["--renderer", "gsplat"], "gsplat cannot draw"),
    ],
)
def test_what_cannot_be_drawn_is_said(scene, tmp_path, capsys, monkeypatch, options, words):
    monkeypatch.setattr("da3_ros.render.renderers.find_spec", lambda name: None)
    trajectory(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe0 0")
    trajectory(tmp_path / "still.txt", "0 0 0 0 0 0 0 1", "0 1 0 0 0 0 0 1")
    filled = [option.format(folder=tmp_path) for option in options]
    assert main(["render", str(scene), "-o", str(tmp_path / "a.png"), "--size", "64x48", "-q", *filled]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("da3 render: ")
    assert not (tmp_path / "a.png").exists()


def test_a_file_without_gaussians_and_a_wrong_size_are_refused(scene, tmp_path, capsys):
    out = str(tmp_path / "a.png")
    assert main(["render", str(tmp_path / "none.ply"), "-o", out]) == 1
    assert "none.ply" in capsys.readouterr().err
    empty = tmp_path / "empty.ply"
    write_gaussian_ply(empty, one_gaussian(scale=0.0))
    assert main(["render", str(empty), "-o", out]) == 1
    assert "holds no Gaussian" in capsys.readouterr().err
    for size in ("64", "0x48", "64x-48", "64x9000"):
        with pytest.raises(SystemExit):
            main(["render", str(scene), "-o", out, "--size", size])
        assert "width x height" in capsys.readouterr().err
