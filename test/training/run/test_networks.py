# SPDX-License-Identifier: Apache-2.0
"""Which networks can be trained."""

from needs import needs

needs("safetensors", "torch")

import pytest
import torch

from da3_ros.network import create_model
from da3_training.run.networks import trainable


def test_a_nested_network_is_refused_by_name():
    with torch.device("meta"):
        nested = create_model("da3nested-giant-large")
    with pytest.raises(ValueError, match="da3nested-giant-large is made of two networks"):
        trainable(nested)


@pytest.mark.parametrize("preset", ["da3-nano", "da3mono-large"])
def test_networks_of_one_encoder_are_taken(preset):
    with torch.device("meta"):
        model = create_model(preset)
    assert trainable(model) is model
