# SPDX-License-Identifier: Apache-2.0
"""The Gaussian head, from checkpoint to PLY without torch at run time."""

from needs import needs

needs("onnx", "safetensors", "torch")

import cv2
import numpy as np
import pytest
import torch
from micro import MICRO, MICRO_GIANT

from da3_ros.cli.main import main
from da3_ros.engines import load_engine
from da3_ros.estimation import Estimator, EstimatorConfig, PoseConfig, ScaleConfig, View, ViewSet
from da3_ros.estimation.gaussians import gaussians_of
from da3_ros.estimation.views import PoseEstimate
from da3_ros.export.trace import ExportedNetwork, example_inputs
from da3_ros.geometry.gaussians import Gaussians, worth_keeping
from da3_ros.geometry.poses import invert
from da3_ros.models import ModelRecord
from da3_ros.network import build_model

FIELDS = ("means", "scales", "rotations", "harmonics", "opacities")
SIZE = (42, 56)
RECORD = ModelRecord("giant", MICRO_GIANT.name, "none", recommended_size=56)


@pytest.fixture
def giant(exported_giant):
    return exported_giant[:3]


@pytest.fixture
def images():
    return example_inputs(2, *SIZE, posed=False)[0]


def test_graphs_equal_torch(giant):
    _, folder, differences = giant
    assert max(found.largest for found in differences.values()) < 1e-4
    assert load_engine(folder).info.gaussians


def test_gaussians_are_those_of_the_network(giant, images):
    model, folder, _ = giant
    raw = load_engine(folder, threads=1).run(images.numpy())
    network = ExportedNetwork(model)
    x = ((images.float() - network.mean) / network.std).permute(0, 3, 1, 2)[None]
    with torch.no_grad():
        out = model(x, reference="first", gaussians=True)
    poses = [PoseEstimate(pose, "network", np.eye(6)) for pose in invert(raw.extrinsics.astype(np.float64))]
    found = gaussians_of(raw, [SIZE] * 2, poses, 1.0)
    mask = worth_keeping(torch.from_numpy(raw.depth))  # theirs may sort two equal depths otherwise
    expected = Gaussians.of({name: value[0] for name, value in out.items()}).select(mask)
    assert 0 < len(found.means) == len(expected.means) < images.shape[0] * SIZE[0] * SIZE[1]
    for name in FIELDS:
        theirs = getattr(expected, name).numpy()
        np.testing.assert_allclose(getattr(found, name), theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_they_are_in_the_unit_and_the_world_of_the_estimate(giant, images):
    engine = load_engine(giant[1], threads=1)
    pose = np.eye(4)
    pose[:3, 3] = [1, 2, 3]
    out = []
    for metres, known in ((1.0, None), (2.0, None), (2.0, pose)):
        scale, source = ScaleConfig("given", value=metres), PoseConfig("network")
        estimator = Estimator(engine, RECORD, EstimatorConfig(gaussians=True, scale=scale, pose=source))
        views = [View(image, pose=known if i == 0 else None) for i, image in enumerate(images.numpy())]
        out.append(estimator(ViewSet(views)).gaussians)
    far = np.abs(out[1].means).max()
    np.testing.assert_allclose(out[1].means, 2 * out[0].means, rtol=1e-3, atol=1e-5 * far)
    np.testing.assert_allclose(out[1].scales, 2 * out[0].scales, rtol=1e-4)
    np.testing.assert_allclose(out[2].means, out[1].means + pose[:3, 3], rtol=1e-3, atol=1e-5 * far)
    np.testing.assert_array_equal(out[0].opacities, out[1].opacities)
    assert Estimator(engine, RECORD)(ViewSet(views)).gaussians is None


def test_the_border_padding_and_sky_are_left_out(giant, images):
    raw = load_engine(giant[1], threads=1).run(images.numpy())
    poses = [PoseEstimate(np.eye(4), "network", np.eye(6))] * 2
    whole, part = (len(gaussians_of(raw, [window] * 2, poses, 1.0).means) for window in (SIZE, (42, 28)))
    assert part < 0.6 * whole
    raw = type(raw)(**{**vars(raw), "sky": np.ones_like(raw.depth)})
    assert len(gaussians_of(raw, [SIZE] * 2, poses, 1.0).means) == 0


def test_da3_images_writes_them(giant, images, tmp_path, capsys):
    path, out = tmp_path / "a.png", tmp_path / "out"
    cv2.imwrite(str(path), images[0].numpy())
    command = ["images", str(path), "-o", str(out), "--model", str(giant[1]), "--size", "56", "--format", "gaussians"]
    assert main(command) == 0
    header = (out / "gaussians.ply").read_bytes().split(b"end_header")[0].decode()
    assert "property float f_rest_23" in header
    assert f"gaussians: {out / 'gaussians.ply'}" in capsys.readouterr().out


def test_graphs_without_the_head_say_so(exported):
    engine = load_engine(exported[1])
    assert not engine.info.gaussians
    with pytest.raises(ValueError, match="da3 export NAME --gaussians"):
        Estimator(engine, RECORD, EstimatorConfig(gaussians=True))
    with pytest.raises(ValueError, match="no Gaussian head"):
        gaussians_of(engine.run(np.zeros((1, *SIZE, 3), np.uint8)), [SIZE], [], 1.0)
    with pytest.raises(ValueError, match="micro has no Gaussian head"):
        ExportedNetwork(build_model(MICRO), gaussians=True)
