# SPDX-License-Identifier: Apache-2.0
"""Networks that look at each image alone, from checkpoint to estimate."""

from needs import needs

needs("onnx", "safetensors", "torch")

import dataclasses

import numpy as np
import pytest
import torch
from micro import MICRO_SINGLE

from da3_ros.engines import load_engine
from da3_ros.estimation import Estimator, EstimatorConfig, ScaleConfig, View, ViewSet
from da3_ros.export.trace import ExportedNetwork, example_inputs
from da3_ros.geometry import CameraModel
from da3_ros.models import ModelRecord

RECORD = ModelRecord("micro-metric", MICRO_SINGLE.name, "none", metric=True, focal_rule=300.0, recommended_size=56)


def view(name="a", focal=150.0):
    image = np.random.default_rng(0).integers(0, 256, (42, 56, 3), dtype=np.uint8)
    return View(image, CameraModel.pinhole(56, 42, focal, focal, 27.5, 20.5) if focal else None, name=name)


def test_only_a_graph_for_unknown_cameras(exported_single):
    _, folder, differences = exported_single
    assert set(differences) == {"unposed.onnx", "unposed.cpu.onnx"}
    assert max(found.largest for found in differences.values()) < 1e-4
    assert not (folder / "posed.onnx").exists()


def test_engine_gives_depth_and_sky_and_says_that_cameras_are_assumed(exported_single):
    model, folder, _ = exported_single
    engine = load_engine(folder, threads=1)
    (images,) = example_inputs(2, 42, 56, posed=False)
    raw = engine.run(images.numpy())
    with torch.no_grad():
        depth, sky = ExportedNetwork(model).eval()(images)
    assert engine.info.single_view
    assert not engine.info.takes_poses
    np.testing.assert_allclose(raw.depth, depth.numpy(), rtol=1e-4)
    np.testing.assert_allclose(raw.sky, sky.numpy(), atol=1e-5)
    assert (raw.confidence == 1).all()
    assert 2 * np.degrees(np.arctan(28 / raw.intrinsics[0, 0, 0])) == pytest.approx(60, abs=0.01)


def test_metres_need_the_focal_length(exported_single):
    _, folder, _ = exported_single
    config = EstimatorConfig(min_range=0.0, max_range=1e9)
    estimator = Estimator(load_engine(folder, threads=1), RECORD, config)
    near, far = (estimator(ViewSet([view(focal=focal)])) for focal in (150.0, 300.0))
    assert (near.scale.source, near.scale.metric) == ("metric_model", True)
    seen = np.isfinite(near.views[0].depth)
    np.testing.assert_allclose(far.views[0].depth[seen], 2 * near.views[0].depth[seen], rtol=1e-5)
    blind = estimator(ViewSet([view(focal=0)]))
    assert not blind.scale.metric


def test_a_model_without_metres_is_not_metric(exported_single):
    _, folder, _ = exported_single
    record = dataclasses.replace(RECORD, metric=False)
    engine = load_engine(folder, threads=1)
    assert not Estimator(engine, record)(ViewSet([view()])).scale.metric
    wanted = EstimatorConfig(scale=ScaleConfig(source="metric_model"))
    scale = Estimator(engine, record, wanted)(ViewSet([view()])).scale
    assert not scale.metric
    assert "take a metric model" in scale.message


def test_sky_is_beyond_every_range(exported_single):
    _, folder, _ = exported_single
    engine = load_engine(folder, threads=1)
    run = engine.run

    def with_sky(images, *known):
        raw = run(images, *known)
        sky = np.zeros_like(raw.depth)
        sky[:, :10] = 0.5
        return dataclasses.replace(raw, sky=sky)

    engine.run = with_sky
    depth = Estimator(engine, RECORD)(ViewSet([view()])).views[0].depth
    assert np.isposinf(depth[:10]).all()
    assert not np.isposinf(depth[10:]).all()


def test_poses_that_nothing_tells(exported_single):
    _, folder, _ = exported_single
    estimate = Estimator(load_engine(folder, threads=1), RECORD)(ViewSet([view("a"), view("b")]))
    assert [v.pose.source for v in estimate.views] == ["network", "none"]
