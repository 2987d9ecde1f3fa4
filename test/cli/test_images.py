# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from da3_ros.cli.main import main


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The same name in two folders, as cameras often write."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), dtype=np.uint8)
    paths = []
    for name, small in zip(("left", "right"), noise, strict=True):
        (folder / name).mkdir()
        paths.append(str(folder / name / "0001.png"))
        cv2.imwrite(paths[-1], cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC))
    return paths


def test_every_format(pictures, tmp_path, capsys):
    pytest.importorskip("trimesh")  # of glb
    out = tmp_path / "out"
    formats = ["npz", "png", "ply", "glb", "colmap"]
    assert main(["images", *pictures, "-o", str(out), "--size", "56", "--format", *formats]) == 0
    text = capsys.readouterr().out
    assert "0001: 56x42, relative" in text
    assert "0001_1: 56x42" in text
    names = {path.name for path in out.iterdir()}
    each = {f"{name}{end}" for name in ("0001", "0001_1") for end in (".npz", ".png", ".depth.png")}
    assert names == each | {"cloud.ply", "scene.glb", "colmap"}
    arrays = np.load(out / "0001.npz")
    stored = cv2.imread(str(out / "0001.depth.png"), cv2.IMREAD_UNCHANGED)
    seen = np.isfinite(arrays["depth"]) & (arrays["depth"] < 65)
    np.testing.assert_allclose(stored[seen] / 1000, arrays["depth"][seen], atol=6e-4)
    assert not arrays["metric"]
    assert "stddev" not in arrays  # depth has no unit
    assert {path.name for path in (out / "colmap").iterdir()} == {"cameras.txt", "images.txt", "points3D.txt"}


def test_metres_when_the_scale_is_known(pictures, tmp_path, capsys):
    common = ["images", pictures[0], "--size", "56", "--format", "npz", "--camera", "150", "150", "80", "60"]
    for metres, name in (("1", "one"), ("2", "two")):
        assert main([*common, "-o", str(tmp_path / name), "--metres-per-unit", metres]) == 0
    assert "56x42, metres" in capsys.readouterr().out
    one, two = (np.load(tmp_path / name / "0001.npz") for name in ("one", "two"))
    seen = np.isfinite(one["depth"]) & np.isfinite(two["depth"])
    np.testing.assert_allclose(two["depth"][seen], 2 * one["depth"][seen], rtol=1e-5)
    np.testing.assert_allclose(one["K"][0, 0], 150 * 56 / 160)


def test_a_file_that_is_no_image(tmp_path, capsys):
    (tmp_path / "a.jpg").write_text("no")
    assert main(["images", str(tmp_path / "a.jpg"), "-o", str(tmp_path)]) == 1
    assert "not an image that OpenCV can read" in capsys.readouterr().err


@pytest.fixture(scope="module")
def posed(tmp_path_factory):
    """Two images of a slanted wall with their poses: arguments of the command, and the true depth of each."""
    from needs import needs

    needs("rosbags")  # of the helper
    from wrong_depth import NAMES, wall

    scene, folder = wall(), tmp_path_factory.mktemp("wall")
    paths, lines = [], ["# seconds x y z qx qy qz qw"]
    for name in NAMES:
        paths.append(str(folder / f"{name}.png"))
        cv2.imwrite(paths[-1], scene.image(name, 0))
        lines.append(" ".join(map(str, (len(lines), *scene.poses[name][:3, 3], 0, 0, 0, 1))))
    (folder / "poses.tum").write_text("\n".join([*lines, ""]))
    camera = ["--camera", "260", "260", "165", "115"]
    return ["images", *paths, *camera, "--format", "npz"], folder / "poses.tum", scene.depths


def test_images_of_known_pose_are_refined(posed, tmp_path, capsys):
    common, poses, truths = posed
    errors, said = {}, {}
    for source in ("auto", "none"):
        out = tmp_path / source
        assert main([*common, "-o", str(out), "--poses", str(poses), "--refinement", source]) == 0
        said[source] = capsys.readouterr().out
        for name, truth in truths.items():
            arrays = np.load(out / f"{name}.npz")
            assert arrays["metric"]
            small = cv2.resize(truth, arrays["depth"].shape[::-1], interpolation=cv2.INTER_LINEAR)
            errors[source, name] = np.nanmedian(np.abs(arrays["depth"] / small - 1))
            assert ("stddev" in arrays) is (source == "auto")
            if source == "auto":
                np.testing.assert_array_equal(np.isfinite(arrays["stddev"]), np.isfinite(arrays["depth"]))
    for name in truths:
        assert errors["auto", name] < 0.6 * errors["none", name]
        assert f"{name}: 252x196, metres, refined: " in said["auto"]
    assert "% of its pixels measured, residual 0." in said["auto"]
    assert "refined" not in said["none"]
    np.testing.assert_allclose(np.load(tmp_path / "auto" / "right.npz")["T_world_camera"][:3, 3], [0.2, 0, 0])


def test_why_a_view_is_not_refined(posed, tmp_path, capsys):
    common, poses, _ = posed
    one = [common[0], common[1], *common[3:], "--metres-per-unit", "1"]
    alone = tmp_path / "one.tum"
    alone.write_text(poses.read_text().splitlines()[1])
    assert main([*one, "-o", str(tmp_path), "--poses", str(alone)]) == 0
    assert "left: 252x196, metres, not refined: " in capsys.readouterr().out


def test_poses_that_do_not_fit_the_images(posed, tmp_path, capsys):
    common, poses, _ = posed
    words = [*common[:2], *common[3:], "-o", str(tmp_path), "--poses", str(poses)]
    assert main(words) == 1
    assert "poses.tum has 2 poses for 1 images: it needs a line an image, in their order" in capsys.readouterr().err
    assert main([*common[:3], "-o", str(tmp_path), "--poses", str(poses)]) == 1
    assert "--poses needs --camera" in capsys.readouterr().err
