# SPDX-License-Identifier: Apache-2.0
"""Known cameras are given to the network where its record says that they help it, unless the user decides."""

from dataclasses import replace

import pytest
import yaml
from known_depth import RECORD, KnownDepthEngine

from da3_ros.estimation import Estimator, EstimatorConfig, ViewSet
from da3_ros.models import find_model


@pytest.mark.parametrize(
    ("recorded", "wanted", "given"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_the_record_decides_unless_the_user_does(rig, recorded, wanted, given):
    engine = KnownDepthEngine(rig.depths, rig.poses, 2.5)
    record = replace(RECORD, condition_on_poses=recorded)
    estimator = Estimator(engine, record, EstimatorConfig(condition_on_poses=wanted))
    assert estimator.describe()["condition_on_poses"] == str(given).lower()
    estimator(ViewSet(rig.views))
    assert (engine.calls[0]["extrinsics"] is not None) == given


def test_the_zoo_says_it(tmp_path, monkeypatch):
    entry = {"preset": "da3-nano", "licence": "Apache-2.0", "condition_on_poses": False}
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump({"mine": entry}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "unposed.onnx").touch()
    monkeypatch.setenv("DA3_MODELS", str(tmp_path))
    assert not find_model("mine")[0].condition_on_poses
