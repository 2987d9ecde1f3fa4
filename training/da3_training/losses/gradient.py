# SPDX-License-Identifier: Apache-2.0
"""Gradient loss: sharp edges, smooth surfaces."""

from torch import Tensor

from da3_training.losses.masked import masked_mean


def gradient_loss(depth: Tensor, target: Tensor, valid: Tensor, space: str = "linear", scales: int = 3) -> Tensor:
    """L_grad = |d_x D^ - d_x D| + |d_y D^ - d_y D| (paper section 3.3), averaged over `scales` strides 1, 2, 4...

    depth, target, valid: (B, S, H, W). Differences count where both pixels are valid.
    """
    difference = depth.log() - target.clamp(min=1e-4).log() if space == "log" else depth - target
    total = depth.new_zeros(())
    for k in range(scales):
        step = 2**k
        d, m = difference[..., ::step, ::step], valid[..., ::step, ::step]
        total = total + masked_mean((d[..., 1:] - d[..., :-1]).abs(), m[..., 1:] & m[..., :-1])
        total = total + masked_mean((d[..., 1:, :] - d[..., :-1, :]).abs(), m[..., 1:, :] & m[..., :-1, :])
    return total / scales
