# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("lightning_fabric", "onnx", "safetensors", "torch", "tqdm", "webdataset")

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from da3_training.run import trainer
from da3_training.run.dropout import drop_features
from da3_training.run.tasks import Learner


@pytest.fixture
def norm():
    return nn.Identity().train()


def test_whole_channels_of_an_image_go_and_the_mean_stays(norm):
    drop_features(SimpleNamespace(norm=norm), 0.25)
    torch.manual_seed(0)
    seen = norm(torch.ones(50, 6, 200))
    assert (seen == seen[:, :1]).all()  # the same for all tokens of an image
    assert not torch.equal(seen[0], seen[1])
    assert (seen == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert seen.mean().item() == pytest.approx(1, abs=0.03)


def test_only_training_drops_features_and_only_until_it_is_removed(norm):
    tokens = torch.ones(2, 3, 40)
    handle = drop_features(SimpleNamespace(norm=norm), 0.5)
    assert not torch.equal(norm(tokens), tokens)
    assert torch.equal(norm.eval()(tokens), tokens)
    handle.remove()
    assert torch.equal(norm.train()(tokens), tokens)


def test_a_share_of_all_is_refused(norm):
    with pytest.raises(ValueError, match=r"share 1\.0 of dropped features must be .* less than 1"):
        drop_features(SimpleNamespace(norm=norm), 1.0)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_configuration_takes_effect(config, share):
    model = trainer.create_model(config.preset)
    Learner(model, replace(config, head_dropout=share)).train()
    images = torch.zeros(1, 1, 3, 42, 56)
    with torch.no_grad():
        first, second = (model(images)["depth"] for _ in range(2))
    assert torch.equal(first, second) == (share == 0)
