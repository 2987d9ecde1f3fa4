# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("lightning_fabric", "onnx", "safetensors", "torch", "tqdm", "webdataset")

import pytest
import torch

from da3_ros.network import load_checkpoint, save_checkpoint
from da3_training.cli.main import main
from da3_training.run import trainer
from da3_training.run.average import average_checkpoints


@pytest.fixture
def pair(config, tmp_path):
    """Two checkpoints of one network."""
    for name in "ab":
        save_checkpoint(trainer.create_model(config.preset), tmp_path / name)
    return [tmp_path / name for name in "ab"]


def test_the_mean_of_the_weights(pair, tmp_path, capsys):
    a, b = (load_checkpoint(folder).state_dict() for folder in pair)
    main(["average", *map(str, pair), "-o", str(tmp_path / "mean"), "--shares", "1", "3"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "mean")
    mean = load_checkpoint(tmp_path / "mean").state_dict()
    assert mean.keys() == a.keys()
    for key, value in mean.items():
        torch.testing.assert_close(value, 0.25 * a[key] + 0.75 * b[key])


def test_half_precision_takes_half_the_room(pair, tmp_path):
    for name, options in (("single", []), ("half", ["--half"])):
        main(["average", *map(str, pair), "-o", str(tmp_path / name), *options])
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "single")]
    assert sizes[0] < 0.6 * sizes[1]


def test_equal_shares_unless_told_otherwise(pair):
    same = average_checkpoints([pair[0], pair[0]]).state_dict()
    for key, value in load_checkpoint(pair[0]).state_dict().items():
        torch.testing.assert_close(same[key], value)


@pytest.mark.parametrize("shares", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_shares_that_do_not_fit_are_refused(pair, shares):
    with pytest.raises(ValueError, match=r"2 checkpoints with shares .* give one for each, none negative"):
        average_checkpoints(pair, shares)


def test_different_networks_are_refused(pair, micros, tmp_path):
    other = next(name for name in micros if name != load_checkpoint(pair[0]).preset.name)
    save_checkpoint(trainer.create_model(other), tmp_path / "other")
    with pytest.raises(ValueError, match=rf"other is a {other}, .* only one kind fits"):
        average_checkpoints([pair[0], tmp_path / "other"])
