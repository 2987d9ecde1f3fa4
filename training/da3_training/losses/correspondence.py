# SPDX-License-Identifier: Apache-2.0
"""Supervision of cross-view attention by true correspondences (ours, not in the paper).

Small networks trained for minutes do not find out by themselves that cross-view attention is there for matching.
Ground truth tells them: for a patch of view a whose surface view b sees, the first heads of a cross-view block are
asked to attend to the patches of b around that place.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from da3_ros.network.backbone import Attention
from da3_training.data.correspondence import Correspondence
from da3_training.losses.masked import masked_mean


class AttentionTap:
    """Keeps queries and keys of one attention module during a forward pass; use as a context manager.

    They are taken after their normalisation, inside the pass: with FSDP the module's weights are there only then.
    """

    def __init__(self, attention: Attention) -> None:
        self._attention = attention
        self._kept: dict[str, Tensor] = {}

    def __enter__(self) -> AttentionTap:
        parts = {"q": self._attention.q_norm, "k": self._attention.k_norm}
        self._handles = [part.register_forward_hook(self._keeper(name)) for name, part in parts.items()]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keeper(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._kept[name] = output

        return keep

    def logits(self, views: int, heads: int) -> Tensor:
        """Scaled products (B, heads, S, P, S, P) of the first `heads` heads between all patches of S views.

        Camera tokens are left out. Rotary positions, where a preset has them, are not applied: appearance alone
        shall match.
        """
        if not self._kept:
            raise RuntimeError("the tapped attention has not run: call the network inside the `with` block")
        q, k = (self._kept[name][:, :heads].unflatten(2, (views, -1))[:, :, :, 1:] for name in ("q", "k"))
        return torch.einsum("bhspd,bhtqd->bhsptq", q, k) * q.shape[-1] ** -0.5


def correspondence_loss(logits: Tensor, truth: Correspondence, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Cross-entropy of attention against true correspondences, and the share of exact hits.

    logits: (B, N, S, P, S, P) from `AttentionTap.logits`, query view and patch first; grid: rows and columns of
    patches, P = rows * columns. With the softmax over the patches q of view b alone,

        L = mean over visible (a, p, b) of  - sum_q w_q log softmax_q(logits[a, p, b]),

    where w are the bilinear weights of the four patches around the true place, plus - log of the mass that
    the softmax over all views, a included, gives to view b's 3 x 3 patches there, for pairs with the reference view
    (a or b is the first): matching heads shall look abroad, and of several views at the one in whose frame all poses
    are given.
    The hit rate counts pairs whose strongest patch (mean over heads) is within one patch of the truth.
    """
    rows, columns = grid
    weights, near = _targets(truth.position, rows, columns)
    b, n, s, p, _, _ = logits.shape
    mask = truth.visible.transpose(2, 3)  # (B, a, P, b)
    expand = mask[:, None].expand(b, n, s, p, s)
    weights, near = weights.transpose(2, 3), near.transpose(2, 3)  # (B, a, P, b, q)
    within = F.log_softmax(logits, dim=-1)
    exact = masked_mean(-(weights[:, None] * within).sum(-1), expand)
    first = torch.zeros(s, s, dtype=torch.bool, device=logits.device)
    first[0], first[:, 0] = True, True
    everywhere = torch.logsumexp(logits.flatten(-2), dim=-1)[..., None]
    there = torch.logsumexp(logits.masked_fill(~near[:, None], -torch.inf), dim=-1)
    counts = expand & first[None, None, :, None, :]
    abroad = masked_mean(torch.where(counts, everywhere - there, 0.0), counts)
    with torch.no_grad():
        best = within.mean(1).argmax(-1, keepdim=True)
        hits = masked_mean(near.gather(-1, best)[..., 0].to(logits.dtype), mask)
    return exact + abroad, hits


def _targets(position: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Bilinear weights (..., P, rows * columns) of places (..., P, 2), and which patches are within one of them."""
    x, y = position[..., 0].clamp(0, columns - 1), position[..., 1].clamp(0, rows - 1)
    dx = x[..., None] - torch.arange(columns, device=x.device, dtype=x.dtype)
    dy = y[..., None] - torch.arange(rows, device=y.device, dtype=y.dtype)
    wx, wy = (1 - dx.abs()).clamp(min=0), (1 - dy.abs()).clamp(min=0)
    weights = (wy[..., :, None] * wx[..., None, :]).flatten(-2)
    near = ((dy.abs() < 1.5)[..., :, None] & (dx.abs() < 1.5)[..., None, :]).flatten(-2)
    return weights, near
