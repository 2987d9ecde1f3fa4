# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import encoded

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
    assert "left_0001: 56x42, relative" in text
    assert "right_0001: 56x42" in text
    names = {path.name for path in out.iterdir()}
    each = {f"{name}{end}" for name in ("left_0001", "right_0001") for end in (".npz", ".png", ".depth.png")}
    assert names == each | {"cloud.ply", "scene.glb", "colmap"}
    arrays = np.load(out / "left_0001.npz")
    stored = cv2.imread(str(out / "left_0001.depth.png"), cv2.IMREAD_UNCHANGED)
    seen = np.isfinite(arrays["depth"]) & (arrays["depth"] < 65)
    np.testing.assert_allclose(stored[seen] / 1000, arrays["depth"][seen], atol=6e-4)
    assert not arrays["metric"]
    assert "stddev" not in arrays  # depth has no unit
    assert {path.name for path in (out / "colmap").iterdir()} == {"cameras.txt", "images.txt", "points3D.txt"}
    assert colmap_images(out) == ["left/0001.png", "right/0001.png"]


def colmap_images(out):
    """Names of the images of a model, as COLMAP reads them: what stands tenth between blanks."""
    lines = (out / "colmap" / "images.txt").read_text("utf-8").splitlines()
    return [line.split(" ")[9] for line in lines if line and not line.startswith("#")]


def colmap_cameras(out):
    """Width, height, fx, fy, cx, cy of each camera of a model."""
    lines = (out / "colmap" / "cameras.txt").read_text().splitlines()
    return [tuple(map(float, line.split()[2:])) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(("orientation", "turns"), [(6, 1), (3, 2), (8, 3)])
def test_a_photograph_on_its_side_is_seen_upright_and_described_as_stored(
    pictures, tmp_path, capsys, orientation, turns
):
    upright = cv2.cvtColor(cv2.imread(pictures[0]), cv2.COLOR_BGR2RGB)
    stored = np.ascontiguousarray(np.rot90(upright, turns))
    h, w = stored.shape[:2]
    (tmp_path / "stored.png").write_bytes(encoded("png", stored, orientation))
    out, common = tmp_path / "out", ["--size", "56", "--format", "npz", "png", "colmap", "--metres-per-unit", "1"]
    assert main(["images", str(tmp_path / "stored.png"), "-o", str(out), *common]) == 0
    assert "stored.png lies on its side or head: the network sees it upright" in capsys.readouterr().err
    assert main(["images", pictures[0], "-o", str(tmp_path / "upright"), *common]) == 0
    arrays, seen = np.load(out / "stored.npz"), np.load(tmp_path / "upright" / "0001.npz")
    np.testing.assert_array_equal(arrays["depth"], np.rot90(seen["depth"], turns))
    np.testing.assert_array_equal(arrays["confidence"], np.rot90(seen["confidence"], turns))
    assert cv2.imread(str(out / "stored.depth.png"), cv2.IMREAD_UNCHANGED).shape == arrays["depth"].shape
    assert colmap_images(out) == ["stored.png"]
    assert colmap_cameras(out)[0][:2] == (w, h)
    # With the intrinsics of the stored pixels: a principal point off the centre tells which they are.
    camera = (150.0, 152.0, 0.3 * w, 0.6 * h)
    words = ["images", str(tmp_path / "stored.png"), "-o", str(out), *common, "--camera", *map(str, camera)]
    assert main(words) == 0
    expected = np.array([camera[0], camera[1], camera[2] + 0.5, camera[3] + 0.5])  # COLMAP's corner
    np.testing.assert_allclose(colmap_cameras(out)[0][2:], expected, rtol=1e-6)


def test_images_of_one_name_give_results_each(pictures, tmp_path):
    left, right = (cv2.imread(path) for path in pictures)
    for name, image in (("img_2.png", left), ("a/img.png", right), ("b/img.png", left), ("b/img.jpg", right)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), image)
    paths = [str(tmp_path / name) for name in ("img_2.png", "a/img.png", "b/img.png", "b/img.jpg")]
    out = tmp_path / "out"
    assert main(["images", *paths, "-o", str(out), "--size", "56", "--format", "npz", "colmap"]) == 0
    assert {path.stem for path in out.glob("*.npz")} == {"img_2", "a_img", "img_png", "img_jpg"}
    assert colmap_images(out) == ["img_2.png", "a/img.png", "b/img.png", "b/img.jpg"]


def test_a_folder_a_name_with_blanks_and_the_same_file_twice(pictures, tmp_path, capsys):
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for name, path in zip(("view 10.png", "view 2.png"), pictures, strict=True):
        (folder / name).write_bytes(Path(path).read_bytes())
    out = tmp_path / "out"
    words = ["images", str(folder), str(folder / "view 2.png"), "-o", str(out), "--size", "56"]
    assert main([*words, "--format", "npz", "colmap"]) == 0
    said = capsys.readouterr().err
    assert "its 2 images are taken" in said
    assert "view 2.png is named twice, it is taken once" in said
    assert "copies with _ for them lie in" in said
    assert colmap_images(out) == ["view_2.png", "view_10.png"]
    for name, path in (("view_2.png", pictures[1]), ("view_10.png", pictures[0])):
        assert (out / "colmap" / "images" / name).read_bytes() == Path(path).read_bytes()
    assert {path.name for path in out.glob("*.npz")} == {"view 2.npz", "view 10.npz"}


def test_results_never_lie_on_images_and_sizes_fit_the_camera(pictures, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), cv2.imread(pictures[0]))
    before = (tmp_path / "a.png").read_bytes()
    assert main(["images", str(tmp_path / "a.png"), "-o", str(tmp_path), "--size", "56"]) == 1
    assert "a.png is one of the images: choose another folder" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == before
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((60, 80, 3), np.uint8))
    words = ["images", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "out"), "--size", "56"]
    assert main([*words, "--camera", "150", "150", "80", "60"]) == 1
    assert "a.png has 160x120 stored pixels" in (said := capsys.readouterr().err)
    assert "b.png 80x60" in said
    assert main([*words[:2], *words[3:], "--camera", "150", "150", "500", "60", "--format", "npz"]) == 0
    assert "the principal point of --camera lies outside the 160x120" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(1, 640), (480, 1), (10, 2000), (1, 1), (3, 3), (5, 90), (28, 500)])
def test_extreme_sizes_are_estimated_or_their_depth_is_unknown_in_words(pictures, tmp_path, capsys, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "odd.png"), noise)
    words = ["images", str(tmp_path / "odd.png"), pictures[0], "-o", str(tmp_path / "out"), "--size", "56"]
    code = main([*words, "--format", "npz", "png", "ply", "colmap"])
    if min(size) >= 8 and max(size) <= 20 * min(size):
        assert code == 0
        return
    assert code == 3
    assert f"odd: an image of {size[1]}x{size[0]} pixels is too small or too narrow" in capsys.readouterr().err
    assert np.isnan(np.load(tmp_path / "out" / "odd.npz")["depth"]).all()
    assert np.isfinite(np.load(tmp_path / "out" / "0001.npz")["depth"]).all()
    assert main([*words[:2], *words[3:], "--format", "npz"]) == 1  # alone there is nothing to estimate
    assert f"'odd': an image of {size[1]}x{size[0]} pixels" in capsys.readouterr().err


def test_what_the_engine_says_that_cannot_be(pictures, tmp_path, capsys, monkeypatch):
    from wrong_engine import WrongEngine, pixels

    from da3_ros.estimation import Estimator

    real = Estimator.from_model

    def load(share):
        def loaded(model, config):
            estimator = real(model, config)
            estimator.engine = WrongEngine(estimator.engine, pixels(share, np.nan))
            return estimator

        return loaded

    words = ["images", pictures[0], "-o", str(tmp_path / "out"), "--size", "56", "--format", "npz", "ply"]
    monkeypatch.setattr(Estimator, "from_model", load(0.03))
    assert main(words) == 3
    assert "the engine's answer is partly unusable" in capsys.readouterr().err
    assert np.isnan(np.load(tmp_path / "out" / "0001.npz")["depth"]).mean() == pytest.approx(0.03, abs=0.02)
    monkeypatch.setattr(Estimator, "from_model", load(0.3))
    assert main(words) == 1
    assert "the engine's answer cannot be used" in capsys.readouterr().err


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


def test_poses_that_contradict_the_images_make_no_scene(posed, tmp_path, capsys):
    """World to camera instead of camera to world, say: what is told of single views stays, what joins them does not."""
    common, poses, _ = posed
    wrong = tmp_path / "wrong.tum"
    lines = poses.read_text().splitlines()
    wrong.write_text("\n".join([*lines[:2], lines[2].replace(" 0.2 ", " -0.2 ")]))
    words = [*common, "ply", "colmap", "-o", str(tmp_path / "out"), "--poses", str(wrong)]
    assert main(words) == 3
    said = capsys.readouterr()
    assert "depth is relative although poses are given" in said.err
    assert "matches behind the cameras" in said.err
    for name in ("ply", "colmap"):
        assert f"{name}: withheld, since depth is relative and the poses are in metres: correct {wrong}" in said.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"left.npz", "right.npz"}
    assert main([*words, "--metres-per-unit", "2"]) == 0
    assert (tmp_path / "out" / "cloud.ply").exists()


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


@pytest.mark.parametrize("camera", [("1.3", "1.9", ".4", ".5"), ("3.6", "3.6", "80", "60"), ("nan", "100", "80", "60")])
def test_a_camera_in_other_units_than_pixels_is_refused(pictures, tmp_path, capsys, camera):
    out = tmp_path / "out"
    assert main(["images", pictures[0], "-o", str(out), "--size", "56", "--camera", *camera]) == 1
    shown = capsys.readouterr().err
    assert "for an image of 160x120; allowed: at least 4% of its sides" in shown
    assert not out.exists()


@pytest.mark.parametrize("value", ["0", "-2", "nan", "inf"])
def test_a_unit_of_no_length_is_refused(pictures, tmp_path, capsys, value):
    words = ["images", pictures[0], "-o", str(tmp_path / "out"), "--size", "56", f"--metres-per-unit={value}"]
    assert main(words) == 1
    assert "it must be a positive number" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["0", "-1", "nan"])
def test_rates_that_are_none(pictures, tmp_path, capsys, rate):
    assert main(["images", pictures[0], "-o", str(tmp_path / "out"), "--fps", rate]) == 1
    assert f"--fps {rate}: it must be a positive number, or be left out" in capsys.readouterr().err


def test_metres_per_unit_make_metres(pictures, tmp_path, capsys):
    words = ["images", pictures[0], "-o", str(tmp_path / "out"), "--size", "56", "--format", "npz"]
    assert main([*words, "--metres-per-unit", "0.5"]) == 0
    assert "metres" in capsys.readouterr().out
    assert np.load(tmp_path / "out" / "0001.npz")["metric"]


def test_results_beside_the_photographs_are_not_seen_the_second_time(pictures, tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", cv2.imread(pictures[0]))[1].tobytes())
    for formats in (["png"], ["npz", "png"]):
        for _ in range(2):
            assert main(["images", str(tmp_path), "-o", str(tmp_path), "--size", "56", "--format", *formats]) == 0
            lines = capsys.readouterr().out.splitlines()
            assert [line for line in lines if "56x42" in line] == [lines[0]]
    assert {path.name for path in tmp_path.iterdir()} == {"a.jpg", "a.png", "a.depth.png", "a.npz"}


def test_a_file_for_a_folder_is_refused_in_words(pictures, capsys):
    for output in (pictures[0], f"{pictures[0]}/deeper"):
        assert main(["images", pictures[1], "-o", output, "--size", "56"]) == 1
        assert f"{pictures[0]} is a file: name a folder for the results" in capsys.readouterr().err
