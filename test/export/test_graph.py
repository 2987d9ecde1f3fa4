# SPDX-License-Identifier: Apache-2.0
import numpy as np
import onnx
import pytest
import torch

from da3_ros.engines import EngineError, load_engine
from da3_ros.engines.onnxruntime import PLAIN, POSED
from da3_ros.export import export_checkpoint
from da3_ros.export.trace import ExportedNetwork, example_inputs
from da3_ros.export.weights import link_weights
from da3_ros.network import PRESETS, create_model, load_checkpoint, save_checkpoint

from ..micro import MICRO


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A micro network in half precision, exported once for all tests."""
    folder = tmp_path_factory.mktemp("micro")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, MICRO.name, MICRO)
        torch.manual_seed(0)
        save_checkpoint(create_model(MICRO.name), folder, torch.float16)
        differences = export_checkpoint(folder, folder)
        yield load_checkpoint(folder), folder, differences


def test_graphs_equal_torch(exported):
    _, _, differences = exported
    assert set(differences) == {PLAIN, POSED, "unposed.cpu.onnx", "posed.cpu.onnx"}
    assert max(found.largest for found in differences.values()) < 1e-4


@pytest.mark.parametrize("shape", [(1, 28, 42), (2, 70, 56), (5, 42, 42), (2, 518, 28)])
@pytest.mark.parametrize("posed", [False, True])
def test_any_number_of_views_and_any_size(exported, shape, posed):
    model, folder, _ = exported
    inputs = example_inputs(*shape, posed)
    got = load_engine(folder, threads=1).run(*(x.numpy() for x in inputs))
    with torch.no_grad():
        expected = ExportedNetwork(model)(*inputs)
    for name, reference in zip(("depth", "confidence", "extrinsics", "intrinsics"), expected, strict=True):
        np.testing.assert_allclose(getattr(got, name), reference.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def test_weights_stay_in_the_checkpoint(exported):
    _, folder, _ = exported
    graph = onnx.load(str(folder / PLAIN), load_external_data=False).graph
    external = [t for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert len(external) > 20
    assert all(t.external_data[0].value == "model.safetensors" for t in external)
    inside = [t for t in graph.initializer if t.data_location != onnx.TensorProto.EXTERNAL]
    assert sum(len(t.raw_data) for t in inside) < (folder / "model.safetensors").stat().st_size / 4


def test_rays_are_pruned(exported):
    _, folder, _ = exported
    graph = onnx.load(str(folder / PLAIN), load_external_data=False).graph
    assert [o.name for o in graph.output] == ["depth", "confidence", "extrinsics", "intrinsics"]
    used = {t.name for t in graph.initializer}
    assert not any("aux" in name or "cam_enc" in name for name in used)


def test_a_weight_that_the_checkpoint_lacks_is_refused(exported):
    _, folder, _ = exported
    foreign = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "foreign")
    node = onnx.helper.make_node("MatMul", ["x", "foreign"], ["y"])
    io = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 64]) for n in ("x", "y")]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", io[:1], io[1:], [foreign]))
    with pytest.raises(ValueError, match="foreign"):
        link_weights(model, folder / "model.safetensors")


def test_bad_inputs_are_refused(exported):
    _, folder, _ = exported
    engine = load_engine(folder, threads=1)
    images = np.zeros((1, 28, 28, 3), np.uint8)
    for bad, word in (
        ((images.astype(np.float32),), "uint8"),
        ((images[:, :27],), "multiple of 14"),
        ((images, np.eye(4, dtype=np.float32)[None]), "both"),
    ):
        with pytest.raises(EngineError, match=word):
            engine.run(*bad)


def test_a_folder_without_graphs_says_how_to_make_them(tmp_path):
    with pytest.raises(EngineError, match="da3 export"):
        load_engine(tmp_path)


def test_a_broken_graph_is_named(tmp_path):
    (tmp_path / PLAIN).write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=PLAIN):
        load_engine(tmp_path)
