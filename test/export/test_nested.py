# SPDX-License-Identifier: Apache-2.0
"""Nested networks, from checkpoint to estimate: geometry in metres, with sky."""

from needs import needs

needs("onnx", "safetensors", "torch")

import dataclasses

import numpy as np
import pytest
import torch
from micro import MICRO_NESTED

from da3_ros.engines import RawEstimate, load_engine
from da3_ros.engines.files import SKY_THRESHOLD
from da3_ros.estimation import Estimator, EstimatorConfig, PoseConfig, ScaleConfig, View, ViewSet
from da3_ros.export.gate import Tolerance, compare, judge
from da3_ros.export.trace import ExportedNetwork, example_inputs
from da3_ros.geometry import CameraModel
from da3_ros.models import ModelRecord

RECORD = ModelRecord("micro-nested", MICRO_NESTED.name, "none", metric=True, recommended_size=56)
NO_LIMITS = {"min_range": 0.0, "max_range": 1e9}


@pytest.fixture(scope="module")
def engine(exported_nested):
    return load_engine(exported_nested[1], threads=1)


def set_of(views=2, focal=None):
    camera = CameraModel.pinhole(56, 42, focal, focal, 27.5, 20.5) if focal else None
    return ViewSet([View(image, camera, name=str(i), stamp_ns=i + 1) for i, image in enumerate(picture(views))])


def picture(views):
    return np.random.default_rng(0).integers(0, 256, (views, 42, 56, 3), dtype=np.uint8)


def estimator_of(engine, raw=None, **config):
    """An estimator on the engine, or on one that gives `raw`."""
    if raw is not None:
        engine = type("Given", (), {"info": engine.info, "run": lambda self, *_: raw})()
    return Estimator(engine, RECORD, EstimatorConfig(**NO_LIMITS, **config))


def test_graphs_equal_torch(exported_nested):
    _, _, differences = exported_nested
    assert set(differences) == {"unposed.onnx", "unposed.cpu.onnx"}
    assert max(found.largest for found in differences.values()) < 1e-4


@pytest.mark.parametrize("views", [1, 2, 5])
def test_scaled_by_the_engines_number_they_are_the_networks_metres(exported_nested, engine, views):
    model, _, _ = exported_nested
    (images,) = example_inputs(views, 42, 56, posed=False)
    raw = engine.run(images.numpy())
    network = ExportedNetwork(model)
    x = ((images.float() - network.mean) / network.std).permute(0, 3, 1, 2)[None]
    with torch.no_grad():
        expected = {name: value[0].numpy() for name, value in model(x, reference="first").items()}
    assert not engine.info.single_view
    assert raw.metric_scale == pytest.approx(expected["metric_scale"], rel=1e-4)
    near = raw.sky < SKY_THRESHOLD
    assert near.any()
    np.testing.assert_allclose((raw.depth * raw.metric_scale)[near], expected["depth"][near], rtol=1e-4)
    got, position = raw.extrinsics[..., 3] * raw.metric_scale, expected["extrinsics"][..., 3]
    np.testing.assert_allclose(got, position, atol=1e-4 * np.abs(position).max())
    np.testing.assert_allclose(raw.confidence, expected["depth_conf"], rtol=1e-4)
    np.testing.assert_allclose(raw.sky, expected["sky"], atol=1e-4)


def test_the_estimate_is_in_metres_without_any_calibration(engine):
    estimate = estimator_of(engine, pose=PoseConfig("network"))(set_of())
    raw = engine.run(picture(2))
    assert (estimate.scale.source, estimate.scale.metric) == ("metric_model", True)
    assert estimate.scale.value == pytest.approx(raw.metric_scale)
    for i, view in enumerate(estimate.views):
        near = raw.sky[i] < SKY_THRESHOLD
        np.testing.assert_allclose(view.depth[near], raw.depth[i][near] * raw.metric_scale, rtol=1e-5)
        assert np.isposinf(view.depth[~near]).all()
    second = np.linalg.inv(np.vstack([raw.extrinsics[1], [0, 0, 0, 1]]))
    first = np.vstack([raw.extrinsics[0], [0, 0, 0, 1]])
    expected = (first @ second)[:3, 3] * raw.metric_scale
    np.testing.assert_allclose(estimate.views[1].pose.T_world_camera[:3, 3], expected, rtol=1e-3)


def test_sky_is_beyond_every_range_whatever_its_confidence(engine):
    raw = engine.run(picture(2))
    sky = np.zeros_like(raw.depth)
    sky[:, :10] = 0.5
    confidence = np.where(sky > 0, np.float32(1), np.float32(3))
    raw = dataclasses.replace(raw, sky=sky, confidence=confidence)
    depth = estimator_of(engine, raw, min_confidence=2.0)(set_of()).views[0].depth
    assert np.isposinf(depth[:10]).all()
    assert np.isfinite(depth[10:]).all()


@pytest.mark.parametrize("source", ["auto", "metric_model"])
def test_images_that_tell_no_metres_give_relative_depth_and_say_why(engine, source):
    raw = dataclasses.replace(engine.run(picture(2)), metric_scale=0.0, sky=None)
    estimate = estimator_of(engine, raw, scale=ScaleConfig(source))(set_of())
    assert not estimate.scale.metric
    assert "too little besides sky" in estimate.scale.message
    assert np.isfinite(estimate.views[0].depth).all()


def test_a_known_scale_comes_before_the_networks(engine):
    given = estimator_of(engine, scale=ScaleConfig("given", value=7.0))(set_of()).scale
    assert (given.source, given.value) == ("given", 7.0)


def test_the_accuracy_gate_sees_a_drift_of_the_metres(engine):
    raw = dataclasses.replace(engine.run(picture(2)), metric_scale=2.0)
    assert isinstance(raw, RawEstimate)
    assert judge(compare(raw, raw), Tolerance()) == []
    drifted = compare(raw, dataclasses.replace(raw, metric_scale=2.2))
    assert drifted.scale_ratio == pytest.approx(1.1, abs=1e-4)
    assert "scale differs" in judge(drifted, Tolerance())[0]
    blind = dataclasses.replace(raw, metric_scale=0.0)
    assert judge(compare(raw, blind), Tolerance())
    assert judge(compare(blind, blind), Tolerance()) == []
