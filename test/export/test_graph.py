# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("onnx", "safetensors", "torch")

import numpy as np
import onnx
import pytest
import torch

from da3_ros.engines import EngineError, load_engine
from da3_ros.engines.files import PLAIN, POSED
from da3_ros.export import export_checkpoint
from da3_ros.export.fused import FusionError, fuse_for_cpu
from da3_ros.export.trace import ExportedNetwork, example_inputs
from da3_ros.export.weights import link_weights
from da3_ros.network.base import IMAGE_MEAN, IMAGE_STD


def test_graphs_equal_torch(exported):
    _, _, differences = exported
    assert set(differences) == {PLAIN, POSED, "unposed.cpu.onnx", "posed.cpu.onnx"}
    assert max(found.largest for found in differences.values()) < 1e-4


def test_the_ray_map_where_it_was_asked_for(exported, exported_giant):
    model, folder, differences, _ = exported_giant
    assert max(found.largest for found in differences.values()) < 1e-4
    plain, engine = load_engine(exported[1]), load_engine(folder)
    assert (plain.info.rays, engine.info.rays) == (False, True)
    images = np.random.default_rng(0).integers(0, 256, (2, 42, 56, 3), dtype=np.uint8)
    assert plain.run(images).rays is None
    found = engine.run(images)
    network = ExportedNetwork(model, rays=True).eval()
    with torch.no_grad():
        expected = dict(zip(network.outputs, network(torch.from_numpy(images)), strict=True))
    assert found.rays.shape == (2, 24, 32, 6)
    np.testing.assert_allclose(found.rays, expected["rays"], atol=1e-4)
    np.testing.assert_allclose(found.ray_confidence, expected["ray_confidence"], rtol=1e-4)


def test_16_bits_cost_little(in_16_bits):
    assert set(in_16_bits) == {"unposed.fp16.onnx", "unposed.bf16.onnx"}
    assert in_16_bits["unposed.fp16.onnx"].depth < 1e-4
    assert in_16_bits["unposed.bf16.onnx"].depth < 1e-3
    assert in_16_bits["unposed.fp16.onnx"].depth < in_16_bits["unposed.bf16.onnx"].depth


def test_the_fused_form_has_fused_operators(exported):
    _, folder, _ = exported
    plain, fused = (_operators(folder / name) for name in (PLAIN, "unposed.cpu.onnx"))
    assert {"Softmax", "Erf"} <= plain
    assert not {"Softmax", "Erf"} & fused
    assert {"MultiHeadAttention", "Gelu"} <= fused


def test_a_graph_of_another_form_is_not_fused():
    softmax = onnx.helper.make_node("Softmax", ["x"], ["y"])
    io = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 64]) for n in ("x", "y")]
    with pytest.raises(FusionError, match="expected MatMul"):
        fuse_for_cpu(onnx.helper.make_model(onnx.helper.make_graph([softmax], "g", io[:1], io[1:])))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"precisions": ("fp8",)}, "allowed: fp32, bf16, fp16"), ({"size": (100, 140)}, "multiples of 14")],
)
def test_wrong_arguments_are_refused(exported, arguments, text):
    _, folder, _ = exported
    with pytest.raises(ValueError, match=text):
        export_checkpoint(folder, folder, **arguments)


def test_a_difference_beyond_the_tolerance_leaves_no_file(exported_giant):
    said, left = exported_giant[3]
    assert said.startswith("unposed.onnx differs from torch by ")
    assert said.endswith(", allowed is 0e+00")
    assert sorted(left) == ["config.json", "model.safetensors"]


def _operators(path):
    return {node.op_type for node in onnx.load(str(path), load_external_data=False).graph.node}


@pytest.mark.parametrize("shape", [(1, 28, 42), (2, 70, 56), (5, 42, 42), (2, 518, 28)])
@pytest.mark.parametrize("posed", [False, True])
def test_any_number_of_views_and_any_size(exported, shape, posed):
    """With cameras of which every third is not known."""
    model, folder, _ = exported
    inputs = example_inputs(*shape, posed)
    images, *cameras = (x.numpy() for x in inputs)
    if posed:
        cameras[2] = cameras[2] > 0.5
    got = load_engine(folder, threads=1).run(images, *cameras)
    with torch.no_grad():
        expected = ExportedNetwork(model)(*inputs)
    for name, reference in zip(("depth", "confidence", "extrinsics", "intrinsics"), expected, strict=True):
        np.testing.assert_allclose(getattr(got, name), reference.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def test_the_mask_of_known_cameras_takes_effect(exported):
    """As in torch: all of them is the graph without a mask, none the one without cameras, some lie between."""
    model, folder, _ = exported
    engine = load_engine(folder, threads=1)
    images, extrinsics, intrinsics, _ = (x.numpy() for x in example_inputs(3, 42, 56, posed=True))
    assert engine.info.mixes
    x = (torch.from_numpy(images) / 255 - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)
    x = x.permute(0, 3, 1, 2)
    given = [torch.from_numpy(c)[None] for c in (extrinsics, intrinsics)]
    seen = []
    for known in ([True] * 3, [False] * 3, [True, True, False], [False, True, True]):
        with torch.no_grad():
            expected = model(x[None], *given, reference="first", known=torch.tensor([known]))
        got = engine.run(images, extrinsics, intrinsics, np.array(known))
        np.testing.assert_allclose(got.depth, expected["depth"][0], rtol=1e-4)
        np.testing.assert_allclose(got.extrinsics, expected["extrinsics"][0], rtol=1e-3, atol=1e-4)
        seen.append(got.depth)
    np.testing.assert_array_equal(seen[1], engine.run(images).depth)
    assert min(np.abs(a - b).max() for i, a in enumerate(seen) for b in seen[:i]) > 1e-4


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


def test_a_piece_of_a_stored_tensor_stays_in_the_graph(exported):
    """The two camera tokens of da3-large and of larger networks have 1024 numbers each and are used one by one."""
    model, folder, _ = exported
    weight = model.state_dict()["backbone.pretrained.blocks.0.attn.qkv.weight"].numpy()
    piece = onnx.numpy_helper.from_array(weight[64:128].copy(), "piece")
    node = onnx.helper.make_node("MatMul", ["x", "piece"], ["y"])
    io = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 64]) for n in ("x", "y")]
    graph = onnx.helper.make_model(onnx.helper.make_graph([node], "g", io[:1], io[1:], [piece]))
    assert link_weights(graph, folder / "model.safetensors") == 0
    assert [t.name for t in graph.graph.initializer] == ["piece"]


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
