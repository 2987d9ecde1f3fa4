# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from da3_ros.network import CheckpointError, create_model, load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize("name", ["micro-single", "micro-giant", "micro-nested"])
def test_every_kind_makes_the_round_trip(tmp_path, micros, name):
    torch.manual_seed(0)
    model = create_model(name).eval()
    save_checkpoint(model, tmp_path)
    keys = set(load_file(tmp_path / "model.safetensors"))
    assert all(key.startswith("model.") for key in keys)
    if name == "micro-nested":
        assert {key.split(".")[1] for key in keys} == {"da3", "da3_metric"}
    loaded = load_checkpoint(tmp_path)
    assert loaded.preset.name == name
    assert not any(p.is_meta for p in loaded.parameters())
    x = torch.randn(1, 2, 3, 28, 28)
    with torch.no_grad():
        expected, out = model(x), loaded(x)
    for key, value in expected.items():
        torch.testing.assert_close(out[key], value)


def test_gaussian_head_must_be_there_where_the_preset_has_one(tmp_path, micros):
    save_checkpoint(create_model("micro-giant"), tmp_path)
    rewrite(tmp_path, lambda t: [t.pop(key) for key in list(t) if "gs_head" in key])
    with pytest.raises(CheckpointError, match=r"missing \(gs_head"):
        load_checkpoint(tmp_path)


def test_weights_outlive_their_file(saved):
    model, folder = saved
    loaded = load_checkpoint(folder)
    (folder / "model.safetensors").write_bytes(bytes(10))
    torch.testing.assert_close(loaded.state_dict()["cam_dec.fc_t.bias"], model.cam_dec.fc_t.bias)


def test_loaded_weights_can_be_trained_and_stay_tied(saved):
    _, folder = saved
    model = load_checkpoint(folder)
    assert all(p.requires_grad for p in model.parameters())
    aux = model.head.scratch.output_conv2_aux
    assert aux[0][2].weight is aux[3][2].weight


def test_half_precision_files_become_float32(saved):
    model, folder = saved
    save_checkpoint(model, folder, torch.float16)
    assert all(p.dtype == torch.float32 for p in load_checkpoint(folder).parameters())


@pytest.mark.parametrize(
    "text", [None, json.dumps({"model_name": "da3-large"}), json.dumps({"model_name": "da3-tiny"})]
)
def test_the_preset_that_fits_is_named(saved, text):
    _, folder = saved
    (folder / "config.json").unlink()
    if text is not None:
        (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"weights are those of micro: name it in config\.json"):
        load_checkpoint(folder)


def test_pickled_weights_are_not_read(saved):
    _, folder = saved
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"found pytorch_model\.bin; pickled weights are not read"):
        load_checkpoint(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="is no folder"):
        load_checkpoint(tmp_path / "nothing")


def test_a_hub_id_is_fetched_without_anything_but_weights_and_config(saved, monkeypatch):
    _, folder = saved
    asked = {}

    def snapshot_download(repository, **options):
        asked.update(options, repository=repository)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    load_checkpoint("depth-anything/DA3-SMALL", revision="v1")
    assert asked == {
        "repository": "depth-anything/DA3-SMALL",
        "revision": "v1",
        "allow_patterns": ["*.safetensors", "config.json"],
    }


def test_a_hub_that_does_not_answer(monkeypatch):
    def fail(repository, **options):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(CheckpointError, match=r"DA3-SMALL.*ConnectionError: no route\).*check the name"):
        load_checkpoint("depth-anything/DA3-SMALL")


def test_a_network_needs_no_safetensors_before_weights_are_read_or_written(saved, micro, monkeypatch):
    model, folder = saved
    monkeypatch.setitem(sys.modules, "safetensors", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    code = (
        "import sys; sys.modules['safetensors'] = None; from da3_ros.network import create_model; "
        "create_model('da3-nano')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with pytest.raises(CheckpointError, match=r"package safetensors, which is missing .*: pip install safetensors"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="pip install safetensors"):
        save_checkpoint(model, folder / "new")
    assert not (folder / "new").exists()
