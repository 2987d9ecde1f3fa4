# SPDX-License-Identifier: Apache-2.0
"""Gaussians of a network of seeded weights, from photographs to pictures and figures: whether the way is open, not
whether what is seen is good.
"""

from needs import needs

needs("onnx", "safetensors", "scipy", "skimage", "torch", "tqdm")

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from da3_ros.cli.main import main
from da3_ros.files.gaussians import read_gaussian_ply

ROOT = Path(__file__).resolve().parents[2]
K = np.array([[60.0, 0, 27.5], [0, 60, 20.5], [0, 0, 1]])


@pytest.fixture
def photographs():
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (42, 80, 3)), (0, 0), 2)
    scene = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return [scene[:, 2 * i : 2 * i + 56] for i in range(10)]


def test_from_photographs_to_a_video(exported_giant, photographs, tmp_path, capsys):
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path, image in zip(paths, photographs, strict=False):
        cv2.imwrite(path, image)
    folder, out = str(exported_giant[1]), tmp_path / "out"
    assert main(["images", *paths, "-o", str(out), "--model", folder, "--size", "56", "--format", "gaussians"]) == 0
    gaussians = read_gaussian_ply(out / "gaussians.ply")
    assert len(gaussians.means) > 1000
    assert gaussians.harmonics.shape[1:] == (3, 9)
    command = ["render", str(out / "gaussians.ply"), "-o", str(out / "a.mp4"), "--frames", "3", "--size", "64x48", "-q"]
    assert main([*command, "--renderer", "cpu"]) == 0
    assert f"3 frames of 64x48, {len(gaussians.means)} Gaussians on the CPU" in capsys.readouterr().out
    assert (out / "a.mp4").stat().st_size > 0


def test_the_benchmark_of_novel_views(exported_giant, photographs, tmp_path):
    folder = tmp_path / "sets" / "house" / "room"
    for name in ("image", "depth", "pose"):
        (folder / name).mkdir(parents=True)
    np.save(folder / "cam_K.npy", K)
    for i, image in enumerate(photographs):
        cv2.imwrite(str(folder / "image" / f"{i}.png"), image)
        cv2.imwrite(str(folder / "depth" / f"{i}.png"), np.full((42, 56), 1311, np.uint16))  # 2 m
        T_camera_world = np.eye(4)
        T_camera_world[:3, 3] = -2 * i / 30, 0.01 * (i % 3), 0.02 * (i % 2)
        np.save(folder / "pose" / f"{i}.npy", T_camera_world)
    command = [sys.executable, str(ROOT / "benchmark" / "accuracy"), f"hiroom={tmp_path / 'sets'}", "--novel-views"]
    options = ["--model", str(exported_giant[1]), "--size", "56", "--context", "4", "-o", str(tmp_path / "out")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "accuracy.json").read_text())["results"]
    scores = results["hiroom novel views"]
    assert (scores["sequences"], scores["context"], scores["targets"]) == (1, 4, 2)
    assert 0 < scores["psnr_rendered"] < 40
    assert -1 <= scores["ssim_rendered"] <= 1
    assert scores["psnr_nearest"] > 5
    if "lpips_rendered" not in scores:
        assert "LPIPS is left out: " in done.stdout
    page = (tmp_path / "out" / "accuracy.md").read_text()
    assert "| hiroom novel views | 1 | 4.0 | 2.0 |" in page
    assert "from seeded weights they say that the path works" in " ".join(page.split())
