# SPDX-License-Identifier: Apache-2.0
"""Figures of novel views: the scores against known values, and the whole path on a small scene that is known."""

from needs import needs

needs("safetensors", "scipy", "skimage", "torch", "tqdm")

import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_scores import TRUNKS, find_lpips, psnr, ssim
from novel_views import (
    NovelViews,
    context_gaussians,
    measured_gaussians,
    novel_view_scores,
    score_novel_views,
    split_views,
)
from report import markdown, merge

from da3_ros.engines import EngineInfo, RawEstimate
from da3_ros.geometry.alignment import AlignmentError
from da3_ros.geometry.gaussians import SCALE_MAX, SCALE_MIN
from da3_ros.geometry.harmonics import DC
from da3_ros.geometry.poses import from_rotation_translation, invert, matrix_from_quaternion, transform
from da3_training.data.records import Record

ROOT = Path(__file__).resolve().parents[2]
W, H = 126, 84
K = np.array([[105.0, 0, 62.5], [0, 105, 41.5], [0, 0, 1]])
UNIT = 2.5
"""Metres in a unit of the made-up network."""


def test_psnr_is_its_definition():
    truth = np.random.default_rng(0).uniform(0.2, 0.8, (20, 30, 3))
    assert psnr(truth + 0.1, truth) == pytest.approx(20)
    assert psnr(np.where(truth > 0, truth, 0), truth) == float("inf")
    assert psnr(np.zeros((2, 2, 3)), np.ones((2, 2, 3))) == pytest.approx(0)


def test_ssim_has_its_known_values():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 1, (32, 40, 3))
    assert ssim(truth, truth) == pytest.approx(1)
    # Of two flat images only the luminance is left: (2ab + C1) / (a^2 + b^2 + C1), C1 = 0.01^2.
    flat = ssim(np.full((32, 40, 3), 0.4), np.full((32, 40, 3), 0.6))
    assert flat == pytest.approx((2 * 0.24 + 1e-4) / (0.16 + 0.36 + 1e-4), abs=1e-6)
    assert ssim(rng.uniform(0, 1, truth.shape), truth) < 0.2
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(truth[:10], truth[:10])


def test_ssim_is_that_of_the_formula():
    """At one pixel, by its own window."""
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(2)
    a, b = rng.uniform(0, 1, (2, 31, 31))
    window = np.exp(-((np.arange(11) - 5) ** 2) / 2 / 1.5**2)
    window = np.outer(window, window) / window.sum() ** 2
    x, y = a[10:21, 10:21], b[10:21, 10:21]
    mx, my = (window * x).sum(), (window * y).sum()
    vx, vy, cov = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2, (window * x * y).sum() - mx * my
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    mean, full = structural_similarity(a, b, full=True, **options)
    assert full[15, 15] == pytest.approx(expected, rel=1e-9)
    stacked = (np.repeat(image[..., None], 3, axis=2) for image in (a, b))
    assert ssim(*stacked) == pytest.approx(mean, abs=1e-9)


def test_lpips_is_left_out_aloud_where_its_weights_are_not(monkeypatch, tmp_path):
    import image_scores
    import torch

    monkeypatch.setattr(image_scores, "find_spec", lambda name: None if name == "lpips" else name)
    assert find_lpips() == (None, "LPIPS is left out: lpips not installed (`pip install torchvision lpips`)")
    monkeypatch.setattr(image_scores, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    nothing, why = find_lpips()
    assert nothing is None
    assert str(tmp_path / "checkpoints" / TRUNKS["vgg"]) in why


def test_lpips_is_given_what_it_wants(monkeypatch, tmp_path):
    import image_scores
    import torch

    class Pretended(torch.nn.Module):
        def __init__(self, net, version, verbose):
            super().__init__()
            assert (net, version, verbose) == ("vgg", "0.1", False)

        def forward(self, a, b, normalize):
            assert normalize  # from 0 to 1
            assert a.shape == b.shape == (1, 3, 20, 30)
            assert a.dtype == torch.float32
            return (a - b).abs().mean(dim=(1, 2, 3), keepdim=True)

    monkeypatch.setattr(image_scores, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=Pretended))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / TRUNKS["vgg"]).write_bytes(b"")
    score, why = find_lpips()
    assert why == ""
    assert score(np.zeros((20, 30, 3)), np.full((20, 30, 3), 0.25)) == pytest.approx(0.25)


def cameras(count):
    """Before the walls, looking nearly the same way, at several heights; every fourth stands among the others."""
    places = list(np.linspace(-1, 1, count))
    inner = [places.pop(i) for i in (13, 10, 8, 5, 3)]
    for i, place in enumerate(inner):
        places.insert(4 * i, place)
    out = []
    for i, t in enumerate(places):
        turn = matrix_from_quaternion(np.array([0.02 * (i % 3 - 1), -0.04 * t, 0, 1.0]))
        out.append(from_rotation_translation(turn, np.array([1.0 * t, 0.12 * (i % 3 - 1), 0.1 * t * t])))
    return np.stack(out)


def room(count=17):
    """Views of a corner of two walls, painted with smooth patterns, by casting rays: no Gaussian is in it."""
    v, u = np.mgrid[:H, :W].astype(float)
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1)
    records = []
    for pose in cameras(count):
        way, start = rays @ pose[:3, :3].T, pose[:3, 3]
        # Walls x + z = 4.0 and z - x = 4.0 meet at x = 0.
        depth = np.minimum(*(((4.0 - start @ n) / (way @ n)) for n in (np.array([1.0, 0, 1]), np.array([-1.0, 0, 1]))))
        x, y, z = np.moveaxis(start + way * depth[..., None], -1, 0)
        colour = np.stack([np.sin(5 * x + y), np.sin(4 * y - 4 * z), np.cos(2 * x * y + 4 * x)], axis=-1)
        image = np.rint(127.5 + 110 * colour).astype(np.uint8)
        valid = np.ones((H, W), bool)
        records.append(Record(image, depth.astype(np.float32), valid, None, None, K, pose, "made", True))
    return records


class TruthfulEngine:
    """Stands for a network with a Gaussian head that knows the room: one opaque Gaussian a pixel, of half its size
    and colour, at its depth, in a unit and a world of its own.
    """

    info = EngineInfo("made", "none", takes_poses=False, patch=14, sha256="", gaussians=True)

    def __init__(self, records):
        self.records = records

    def run(self, images, extrinsics=None, intrinsics=None):
        assert extrinsics is None
        seen = [min(self.records, key=lambda r: np.abs(r.image.astype(int) - image).mean()) for image in images]
        poses = np.stack([r.pose for r in seen])
        own = invert(poses[0]) @ poses
        own[:, :3, 3] /= UNIT
        k = K.copy()
        k[:2, 2] += 0.5
        depth = np.stack([r.depth for r in seen]) / np.float32(UNIT)
        v, u = np.mgrid[:H, :W] + 0.5
        length = np.sqrt(((u - k[0, 2]) / k[0, 0]) ** 2 + ((v - k[1, 2]) / k[1, 1]) ** 2 + 1)
        raw = np.zeros((*depth.shape, 14), np.float32)
        share = (1.25 - SCALE_MIN) / (SCALE_MAX - SCALE_MIN)  # a quarter of a pixel: 0.1 * (1 / fx + 1 / fy) * 1.25
        raw[..., 2:5] = np.log(share / (1 - share))
        raw[..., 8] = 1  # x y z w
        raw[..., 9:12] = (images / 255 - 0.5) / DC
        raw[..., 12] = depth * (length - 1)  # what the head takes for depth is distance along the ray
        raw[..., 13] = 0.99
        ks = np.tile(k, (len(seen), 1, 1)).astype(np.float32)
        return RawEstimate(
            depth=depth,
            confidence=np.ones_like(depth),
            extrinsics=invert(own)[:, :3].astype(np.float32),
            intrinsics=ks,
            gaussians=raw,
        )


PLAN = NovelViews(every=4, context=6, side=W)


def test_gaussians_of_true_depth_show_what_was_held_out():
    records = room()
    scores = merge([score_novel_views(TruthfulEngine(records), records, W, PLAN, None)])
    assert (scores["context"], scores["targets"]) == (6, 5)
    assert scores["psnr_rendered"] > 27
    assert scores["ssim_rendered"] > 0.9
    assert scores["covered"] > 0.93
    assert scores["psnr_rendered"] > scores["psnr_nearest"] + 6
    assert (
        scores["psnr_nearest"] + 4 < scores["psnr_measured"] < scores["psnr_rendered"]
    )  # its Gaussians are twice as wide
    assert "lpips_rendered" not in scores
    page = markdown({"made novel views": scores}, {"paper": {}}, {"model": "x"})
    assert f"| made novel views | 1 | 6.0 | 5.0 | {scores['psnr_rendered']:.2f} |" in page


def test_gaussians_of_measured_depth_lie_on_what_was_measured():
    records = room()
    half = records[3]._replace(valid=np.arange(W)[None] < np.full((H, 1), W // 2))
    gaussians = measured_gaussians([records[1], half])
    x, _, z = gaussians.means.T
    assert len(x) == 1.5 * W * H
    np.testing.assert_allclose(np.minimum(4.0 - x, 4.0 + x), z, atol=1e-4)
    seen = transform(invert(records[1].pose), gaussians.means[: W * H])
    np.testing.assert_allclose(gaussians.scales[: W * H, 1] * K[0, 0] / seen[:, 2], 0.5, rtol=1e-4)
    assert gaussians.colours()[5].tolist() == pytest.approx((records[1].image.reshape(-1, 3)[5] / 255).tolist())
    nothing = records[1]._replace(valid=np.zeros((H, W), bool))
    assert measured_gaussians([nothing]) is None
    scores = novel_view_scores(gaussians, [nothing], [records[0]], PLAN, None)
    assert "psnr_measured" not in scores


def test_wrong_poses_and_wrong_colours_cost_what_they_should():
    records = room()
    context, targets = ([records[i] for i in part] for part in split_views(np.stack([r.pose for r in records]), PLAN))
    targets = targets[:2]
    gaussians = context_gaussians(TruthfulEngine(records), context, W)

    def mean_psnr(views, scene=gaussians, lpips=None):
        scores = novel_view_scores(scene, context, views, PLAN, lpips)
        return np.mean(scores["psnr_rendered"]), scores

    right, _ = mean_psnr(targets)
    aside = from_rotation_translation(matrix_from_quaternion(np.array([0, 0.06, 0, 1.0])), np.array([0.2, 0, 0]))
    wrong, _ = mean_psnr([r._replace(pose=r.pose @ aside) for r in targets])
    mixed, _ = mean_psnr([r._replace(pose=s.pose) for r, s in zip(targets, targets[1:] + targets[:1], strict=True)])
    assert right > max(wrong, mixed) + 8
    _, scores = mean_psnr(targets, lpips=lambda a, b: float(np.abs(a - b).mean()))
    assert np.mean(scores["lpips_rendered"]) < np.mean(scores["lpips_nearest"])


def test_the_scale_is_that_of_the_true_cameras():
    records = room()
    gaussians = context_gaussians(TruthfulEngine(records), records[1::3], W)
    x, _, z = gaussians.means.T
    np.testing.assert_allclose(np.minimum(4.0 - x, 4.0 + x), z, atol=0.02)
    assert len(gaussians.means) == 6 * W * H  # none is left out


def test_cameras_on_a_line_tell_no_scale():
    records = room()
    still = [
        r._replace(pose=from_rotation_translation(np.eye(3), np.array([x, 0.0, 0]))) for x, r in enumerate(records)
    ]
    with pytest.raises(AlignmentError):
        context_gaussians(TruthfulEngine(still), still[:4], W)


def test_context_is_what_lies_farthest_apart():
    poses = np.tile(np.eye(4), (17, 1, 1))
    poses[:, 0, 3] = np.arange(17)
    context, targets = split_views(poses, NovelViews(every=8, context=3))
    assert targets == [0, 8, 16]
    assert context[0] == 1
    assert context[2] == 15
    assert context[1] in (7, 9)
    everything, _ = split_views(poses, NovelViews(every=8, context=50))
    assert everything == [i for i in range(17) if i % 8]
    # Two at one place that look different ways are farther apart than two a little aside.
    poses[:, 0, 3] = 0.0
    poses[2, 0, 3], poses[5, :3, :3] = 1.0, np.diag([-1.0, 1, -1])
    assert 5 in split_views(poses, NovelViews(every=8, context=3))[0]


def test_larger_images_are_made_smaller_with_their_cameras():
    records = room()
    context, targets = ([records[i] for i in part] for part in split_views(np.stack([r.pose for r in records]), PLAN))
    targets = targets[:2]
    gaussians = context_gaussians(TruthfulEngine(records), context, W)
    twice = [r._replace(image=cv2.resize(r.image, (2 * W, 2 * H)), intrinsics=_doubled(K)) for r in targets]
    whole, small = (
        np.mean(novel_view_scores(gaussians, context, views, PLAN, None)["psnr_rendered"]) for views in (targets, twice)
    )
    assert small == pytest.approx(whole, abs=1.5)


def _doubled(k):
    out = k.copy()
    out[:2] *= 2
    out[:2, 2] += 0.5
    return out


def test_the_command_refuses_a_model_without_the_head(tmp_path):
    command = [sys.executable, str(ROOT / "benchmark" / "accuracy"), "motorcycle", "--novel-views"]
    done = subprocess.run([*command, "-o", str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "--novel-views: da3-nano: this graph has no Gaussian head" in done.stderr
    assert not (tmp_path / "accuracy.json").exists()
