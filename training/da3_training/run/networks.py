# SPDX-License-Identifier: Apache-2.0
"""Which networks can be trained: those of one encoder."""

from __future__ import annotations

from da3_ros.network import DepthAnything3
from da3_ros.network.any_view import AnyViewNetwork
from da3_ros.network.single_view import SingleViewNetwork

Trainable = AnyViewNetwork | SingleViewNetwork
"""A network with one encoder and one preset."""


def trainable(model: DepthAnything3) -> Trainable:
    """The same network, known to be of one encoder; raises ValueError for a nested one, which holds two networks."""
    if not isinstance(model, (AnyViewNetwork, SingleViewNetwork)):
        raise ValueError(f"{model.preset.name} is made of two networks: train each of them")
    return model
