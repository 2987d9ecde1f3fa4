# SPDX-License-Identifier: Apache-2.0
"""The teacher's depth loss: depth known up to scale and shift, aligned globally and in local windows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from da3_training.losses.masked import masked_mean


def aligned(depth: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Depth and target (N, P) on one scale: each minus its masked median, over its mean absolute deviation.

    N windows of P pixels; mask (N, P) bool. Windows of equal depth keep a unit scale.
    """
    return _standard(depth, mask), _standard(target, mask)


def global_local_loss(
    depth: Tensor, target: Tensor, valid: Tensor, windows: tuple[int, ...] = (1, 4, 16), fewest: int = 16
) -> Tensor:
    """L_gl = sum over levels l of mean_p | A_l(D^)_p - A_l(D)_p |, paper section 4.1 (teacher).

    The teacher predicts exponential depth, D^ = exp(network), which shows near things finer than disparity does far
    ones. A_l removes shift and scale in each window of level l (median, then mean absolute deviation): one window is
    the whole image (global), `windows` = 4 cuts both sides in 4 (local), so that small structure counts as much as
    the room around it. depth, target, valid: (B, S, H, W). Windows with fewer than `fewest` valid pixels, or of
    (nearly) one depth, where a scale means nothing, do not count.
    """
    total = depth.new_zeros(())
    for count in windows:
        d, t, m = (_cut(x, count) for x in (depth, target, valid.to(depth.dtype)))
        mask = m > 0.5
        spread = _deviation(t, mask) / t.abs().masked_fill(~mask, 0).sum(-1, keepdim=True).clamp(min=1e-6)
        spread = spread * mask.sum(-1, keepdim=True)
        counts = (mask.sum(-1, keepdim=True) >= fewest) & (spread > 1e-3)
        mask = mask & counts
        a, b = aligned(d.flatten(0, 1), t.flatten(0, 1), mask.flatten(0, 1))
        error = (a - b).abs().view_as(d)
        total = total + masked_mean(error, mask)
    return total / len(windows)


def _standard(x: Tensor, mask: Tensor) -> Tensor:
    centred = x - _median(x, mask)
    deviation = _deviation(x, mask)
    return centred / torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))


def _median(x: Tensor, mask: Tensor) -> Tensor:
    middle = x.masked_fill(~mask, torch.nan).nanmedian(dim=-1, keepdim=True).values
    return middle.nan_to_num(0.0)


def _deviation(x: Tensor, mask: Tensor) -> Tensor:
    absolute = (x - _median(x, mask)).abs().masked_fill(~mask, 0)
    return absolute.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)


def _cut(x: Tensor, count: int) -> Tensor:
    """(B, S, H, W) into (B, S * count^2, P) windows, edges padded with zeros (not valid)."""
    b, s, h, w = x.shape
    rows, columns = -(-h // count), -(-w // count)
    padded = F.pad(x, (0, columns * count - w, 0, rows * count - h))
    cut = padded.view(b, s, count, rows, count, columns).permute(0, 1, 2, 4, 3, 5)
    return cut.reshape(b, s * count * count, rows * columns)
