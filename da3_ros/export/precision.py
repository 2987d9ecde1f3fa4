# SPDX-License-Identifier: Apache-2.0
"""Networks whose large matrix products run in 16 bits and everything else in 32.

TensorRT takes a graph's types as they stand, so that the precision is decided here, where it can be tested, and not by
an engine builder. What stays in float32, and why:

* the residual stream and every LayerNorm: DINOv2 carries a few channels hundreds of times larger than the others; their
  squares overflow float16 and drown the rest in bfloat16;
* the DPT head and the camera decoder: depth is an exponential and the camera a quaternion, so that an error of 16 bits
  becomes one of the scale (which is how published float16 engines drift);
* position tables and their sines and cosines, the camera encoder: small, and only computed once.

Queries and keys are normalised in float32 and multiplied in 16 bits; the Softmax between the two products stays in 16
bits in the graph, because TensorRT merges the three into one kernel only then, and that kernel sums in float32.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from da3_ros.network import DepthAnything3
from da3_ros.network.backbone import Attention, VisionTransformer

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def lower_precision(model: DepthAnything3, precision: str) -> DepthAnything3:
    """A copy of the network whose transformer blocks multiply in `precision`: ``bf16`` or ``fp16``; ``fp32`` is as is.

    Its inputs and outputs stay float32, and its weights are stored in float32 and cast where they are used, so that its
    graph can read them from the same file. Raises ValueError for another precision.
    """
    if precision == "fp32":
        return model
    if precision not in TYPES:
        raise ValueError(f"precision {precision!r} is unknown; allowed: fp32, {', '.join(TYPES)}")
    dtype = TYPES[precision]
    lowered = copy.deepcopy(model)
    for vit in [module for module in lowered.modules() if isinstance(module, VisionTransformer)]:
        for block in vit.blocks:
            attention, mlp = block.attn, block.mlp
            assert isinstance(attention, Attention)
            assert isinstance(mlp, nn.Module)
            for name, child in mlp.named_children():
                assert isinstance(child, nn.Linear)
                setattr(mlp, name, _Linear(child, dtype))
            lowered_parts = {
                "qkv": _Linear(attention.qkv, dtype),
                "proj": _Widened(_Linear(attention.proj, dtype)),
                "q_norm": _Normalised(attention.q_norm),
                "k_norm": _Normalised(attention.k_norm),
            }
            for name, part in lowered_parts.items():
                setattr(attention, name, part)
            block.mlp = _Widened(mlp)
    return lowered


class _Linear(nn.Module):
    """A linear layer whose product is in 16 bits."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = layer, dtype

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.layer.bias is None else self.layer.bias.to(self.dtype)
        return F.linear(x.to(self.dtype), self.layer.weight.to(self.dtype), bias)


class _Widened(nn.Module):
    """A module whose output goes back to float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x).float()


class _Normalised(nn.Module):
    """Queries or keys in float32 from here on, until they are multiplied."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.float())
