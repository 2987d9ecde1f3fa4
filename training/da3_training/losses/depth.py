# SPDX-License-Identifier: Apache-2.0
"""Depth loss weighted by the predicted confidence."""

from torch import Tensor

from da3_training.losses.masked import masked_mean


def depth_loss(
    depth: Tensor,
    confidence: Tensor,
    target: Tensor,
    valid: Tensor,
    lambda_c: float = 0.2,
    space: str = "linear",
) -> Tensor:
    """L_D = mean over valid p of ( c_p |D^_p - D_p| - lambda_c log c_p ), paper section 3.3.

    depth, confidence, target, valid: (B, S, H, W); confidence >= 1. space ``log`` measures |log D^ - log D|
    instead, which weighs near and far alike (our deviation for small networks).
    """
    if space == "log":
        error = (depth.log() - target.clamp(min=1e-4).log()).abs()
    elif space == "linear":
        error = (depth - target).abs()
    else:
        raise ValueError(f"unknown depth space {space!r}; allowed: linear, log")
    return masked_mean(confidence * error - lambda_c * confidence.log(), valid)
