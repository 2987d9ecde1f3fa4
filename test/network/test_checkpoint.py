# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from da3_ros.network import CheckpointError, create_model, load_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path, micro):
    torch.manual_seed(0)
    model = create_model(micro).eval()
    save_checkpoint(model, tmp_path)
    return model, tmp_path


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_round_trip(saved):
    model, folder = saved
    loaded = load_checkpoint(folder)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value)


def test_the_tied_norm_is_stored_once_and_shared_after_loading(saved):
    _, folder = saved
    keys = load_file(folder / "model.safetensors")
    assert "model.head.scratch.output_conv2_aux.0.2.weight" in keys
    assert "model.head.scratch.output_conv2_aux.3.2.weight" not in keys
    rewrite(folder, lambda t: t["model.head.scratch.output_conv2_aux.0.2.weight"].fill_(7.0))
    aux = load_checkpoint(folder).head.scratch.output_conv2_aux
    assert (aux[3][2].weight == 7).all()


def test_the_gaussian_head_of_published_files_is_left_out(saved):
    _, folder = saved
    rewrite(folder, lambda t: t.update({"model.gs_head.x": torch.zeros(1)}))
    load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("model.cam_dec.fc_t.bias"), ["1 missing", "cam_dec.fc_t.bias"]),
        (lambda t: t.update({"model.extra": torch.zeros(1)}), ["1 unexpected", "extra"]),
        (
            lambda t: t.update({"model.cam_dec.fc_t.bias": torch.zeros(4)}),
            ["mis-shaped", "(4,) instead of (3,)"],
        ),
        (lambda t: t["model.cam_dec.fc_t.bias"].fill_(float("nan")), ["not finite", "cam_dec.fc_t.bias"]),
    ],
)
def test_bad_weights_are_named(saved, change, words):
    _, folder = saved
    rewrite(folder, change)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    for word in words:
        assert word in str(caught.value)


def test_truncated_file(saved):
    _, folder = saved
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100000])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(folder)


def test_missing_config_says_what_to_write(saved):
    _, folder = saved
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="model_name"):
        load_checkpoint(folder)


@pytest.mark.parametrize("text", ["not json", "[]", json.dumps({"model_name": "da3-tiny"})])
def test_bad_config(saved, text):
    _, folder = saved
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(folder)


def test_another_preset_does_not_fit(saved):
    _, folder = saved
    (folder / "config.json").write_text(json.dumps({"model_name": "da3-small"}))
    with pytest.raises(CheckpointError, match="does not hold a da3-small"):
        load_checkpoint(folder)
