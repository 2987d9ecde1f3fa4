# SPDX-License-Identifier: Apache-2.0
"""Sky and object masks of the single-view networks."""

from __future__ import annotations

from torch import Tensor

from da3_training.losses.masked import masked_mean


def sky_loss(sky: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """L_sky = mean (S^ - S)^2 over pixels where it is known whether they show sky (paper section 4.1).

    sky: (B, S, H, W), the head's output, 0 or more; truth: bool, 1 is sky; known: bool.
    """
    return masked_mean((sky - truth.to(sky.dtype)).square(), known)


def object_loss(depth: Tensor, target: Tensor, alpha: Tensor, valid: Tensor) -> Tensor:
    """L_obj = mean over background p of max(0, 1.1 max_o D_o - D^_p) / max_o D_o (paper section 4.1, our form).

    Renders of single objects have no background: pixels outside the object's mask shall be predicted behind all of
    the object. depth (on the target's scale), target, valid: (B, S, H, W); alpha: bool, True on the object. Views
    without a background (alpha True everywhere) cost nothing.
    """
    farthest = (target * (valid & alpha)).flatten(2).amax(-1)[..., None, None].clamp(min=1e-6)
    return masked_mean((1.1 - depth / farthest).clamp(min=0), ~alpha)
