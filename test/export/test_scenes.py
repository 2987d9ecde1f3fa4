# SPDX-License-Identifier: Apache-2.0
"""Graphs for several scenes at once, from the command to a bag."""

from needs import needs

needs("mcap", "onnx", "rosbags", "safetensors", "scipy", "torch")

import shutil

import bags
import numpy as np
import pytest
from micro import MICRO, MICRO_SINGLE

from da3_ros.bag.errors import BagError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.cli.main import main
from da3_ros.engines import load_engine
from da3_ros.engines.openvino import OpenVinoEngine
from da3_ros.engines.scenes import Scene, run_scenes
from da3_ros.estimation import Estimator
from da3_ros.export.scenes import export_scenes
from da3_ros.export.trace import example_inputs
from da3_ros.messages import decode_depth
from da3_ros.models import ModelRecord
from da3_ros.network import PRESETS, build_model, save_checkpoint


@pytest.fixture(scope="module")
def several(exported, tmp_path_factory):
    """The exported network with graphs for several scenes, of one size: it is traced faster."""
    folder = tmp_path_factory.mktemp("several")
    shutil.copytree(exported[1], folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, MICRO.name, MICRO)
        differences = export_scenes(folder, folder, (42, 56))
    assert max(found.largest for found in differences.values()) < 1e-4
    return folder


@pytest.mark.parametrize("openvino", [False, True])
@pytest.mark.parametrize("posed", [False, True])
def test_several_scenes_equal_each_alone(several, posed, openvino):
    if openvino:
        pytest.importorskip("openvino", reason="not installed: `make env EXTRAS=openvino`")
    engine = OpenVinoEngine(several, 1, "fp32") if openvino else load_engine(several, threads=1)
    assert engine.info.scenes
    inputs = [example_inputs(2, 42, 56, posed, seed=seed) for seed in range(3)]
    scenes = [Scene(*(value.numpy() for value in one)) for one in inputs]
    if posed:  # the last view of every third is not known
        scenes = [scene._replace(known=np.array([True, i != 2])) for i, scene in enumerate(scenes)]
    together = run_scenes(engine, scenes)
    for found, scene in zip(together, scenes, strict=True):
        alone = engine.run(*scene)
        for name in ("depth", "confidence", "extrinsics", "intrinsics"):
            np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=2e-4, atol=1e-4)


def test_graphs_without_scenes_say_so(exported, several):
    assert not load_engine(exported[1], threads=1).info.scenes
    names = {path.name for path in several.glob("*.onnx")}
    assert {f"{kind}.scenes{form}.onnx" for kind in ("unposed", "posed") for form in ("", ".cpu")} <= names


def test_the_command_makes_them_where_asked(exported, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("da3_ros.export.export_checkpoint", lambda *arguments, **options: {})
    monkeypatch.setattr("da3_ros.export.scenes.export_scenes", lambda *arguments: asked.append(arguments) or {})
    for flag in ([], ["--scenes"]):
        assert main(["export", str(exported[1]), "-o", str(tmp_path), "--size", "42x56", *flag]) == 0
    assert asked == [(exported[1], tmp_path, (42, 56))]


def test_networks_that_need_none_are_refused(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, MICRO_SINGLE.name, MICRO_SINGLE)
        save_checkpoint(build_model(MICRO_SINGLE), tmp_path)
        with pytest.raises(ValueError, match="needs no graphs for several scenes"):
            export_scenes(tmp_path, tmp_path)


def test_a_bag_in_batches_equals_one_by_one(exported, several, tmp_path):
    source = bags.write_bag(tmp_path / "rig", bags.serialised(bags.events(5)))

    def run(folder, batch):
        def load(model, config):
            record = ModelRecord("micro", MICRO.name, "none", recommended_size=56)
            return Estimator(load_engine(folder, threads=1), record, config)

        output = tmp_path / f"{folder.name}_{batch}"
        summary = reprocess(Request(source, output, options=Options(batch=batch, pictures=0)), load=load)
        assert summary["job"]["options"]["batch"] == batch
        return [decode_depth(m) for _, m in bags.read(output, "/da3/left/depth/image_rect")]

    alone = run(several, 1)
    assert len(alone) == 5
    for ours, theirs in zip(run(several, 3), alone, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    with pytest.raises(BagError, match=r"one view set at a time: `da3 export .* --scenes`"):
        run(exported[1], 2)
