# SPDX-License-Identifier: Apache-2.0
"""The transformer: a plain DINOv2 ViT whose later blocks also attend across views (paper section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from da3_ros.network.presets import PATCH, POSITION_GRID, Preset
from da3_ros.network.reference_view import reference_order
from da3_ros.network.rope import RotaryTable, rotary_table, rotate


class Attention(nn.Module):
    """Multi-head self-attention with optional query/key normalisation and rotary positions."""

    def __init__(self, width: int, heads: int, normalise_qk: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        head_dim = width // heads
        self.q_norm = nn.LayerNorm(head_dim, eps=1e-5) if normalise_qk else nn.Identity()
        self.k_norm = nn.LayerNorm(head_dim, eps=1e-5) if normalise_qk else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rope: RotaryTable | None = None, mask: Tensor | None = None) -> Tensor:
        """Attend over the tokens of `x` (N, T, C); `mask` (N, 1, 1 or T, T) is added to the scores of the keys."""
        n, t, c = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        # Normalisation and rotation may be of a finer type than the products (`da3_ros.export.precision`).
        out = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask)
        return self.proj(out.transpose(1, 2).reshape(n, t, c))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width_in, hidden)
        self.fc2 = nn.Linear(hidden, width_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (..., width_in) to (..., width_out)."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGlu(nn.Module):
    """Gated feed-forward of DINOv2's giant: ``w3(silu(gate) * value)``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (..., C) to the same shape."""
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class LayerScale(nn.Module):
    """A learned gain for each channel of a residual branch."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the last axis of `x`."""
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(
        self,
        width: int,
        heads: int,
        ffn: nn.Module,
        *,
        normalise_qk: bool = False,
        eps: float = 1e-6,
        layer_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, normalise_qk)
        self.ls1 = LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = ffn
        self.ls2 = LayerScale(width, layer_scale)

    def forward(self, x: Tensor, rope: RotaryTable | None = None, mask: Tensor | None = None) -> Tensor:
        """Transform the tokens of `x` (N, T, C); `mask` as in `Attention`."""
        x = x + self.ls1(self.attn(self.norm1(x), rope, mask))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Image patches to tokens by a strided convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, H/14 * W/14, C), row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


def cubic_resampling(n_out: int, n_in: int, ratio: float, like: Tensor) -> Tensor:
    """Matrix (n_out, n_in) of one-dimensional bicubic interpolation with clamped borders.

    The same as ``torch.nn.functional.interpolate(mode="bicubic", scale_factor=ratio)`` along one axis
    (coefficient -0.75, half-pixel centres); written as a matrix so that an exported graph may have any size.
    """
    a = -0.75
    source = (torch.arange(n_out, device=like.device, dtype=like.dtype)[:, None] + 0.5) / ratio - 0.5
    taps = torch.floor(source) + torch.arange(-1, 3, device=like.device, dtype=like.dtype)
    d = (source - taps).abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    weights = torch.where(d <= 1, near, far)
    columns = torch.arange(n_in, device=like.device, dtype=like.dtype)
    hits = taps.clamp(0, n_in - 1)[:, :, None] == columns
    return (weights[:, :, None] * hits.to(like.dtype)).sum(1)


class Encoded(NamedTuple):
    """What the encoder says of images (B, S, 3, H, W), with P = H/14 * W/14 patches each."""

    levels: list[Tensor]
    """Four tapped levels, each (B, S, P, D): D = 2 C of any-view networks, C of single-view ones."""
    camera: Tensor
    """(B, S, D), the un-normalised camera (or class) token of the last level."""
    features: dict[int, Tensor]
    """(B, S, H/14, W/14, C) for each block that was asked for, after the final norm."""


class VisionTransformer(nn.Module):
    """DINOv2 with cross-view attention and camera tokens."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        width = preset.width
        self.first_aware = preset.depth if preset.single_view else preset.alternate_from
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if not preset.single_view:
            self.camera_token = nn.Parameter(torch.zeros(1, 2, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, POSITION_GRID**2 + 1, width))
        self.patch_embed = PatchEmbed(width)
        self.blocks = nn.ModuleList(
            Block(
                width,
                preset.heads,
                SwiGlu(width, preset.swiglu_hidden) if preset.ffn == "swiglu" else Mlp(width, 4 * width, width),
                normalise_qk=preset.normalise_qk and i >= self.first_aware,
            )
            for i in range(preset.depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def position_embedding(self, ph: int, pw: int) -> Tensor:
        """Position embedding (1, 1 + ph * pw, C) of the class token and a ph x pw grid of patches.

        DINOv2 adds 0.1 to the sides before it forms the scale; the published weights expect that.
        """
        grid = self.pos_embed[0, 1:].float().view(POSITION_GRID, POSITION_GRID, -1)
        if (ph, pw) != (POSITION_GRID, POSITION_GRID):
            rows = cubic_resampling(ph, POSITION_GRID, (ph + 0.1) / POSITION_GRID, grid)
            columns = cubic_resampling(pw, POSITION_GRID, (pw + 0.1) / POSITION_GRID, grid)
            width = grid.shape[-1]
            grid = (rows @ grid.reshape(POSITION_GRID, -1)).view(ph, POSITION_GRID, width)
            grid = columns @ grid
        return torch.cat([self.pos_embed[:, :1], grid.reshape(1, ph * pw, -1).to(self.pos_embed.dtype)], dim=1)

    def forward(
        self,
        images: Tensor,
        camera_tokens: Tensor | None = None,
        reference: str = "saddle_balanced",
        *,
        known: Tensor | None = None,
        features: Sequence[int] = (),
    ) -> Encoded:
        """Encode all views together; every output is in the caller's order of views.

        images: (B, S, 3, H, W), normalised. camera_tokens: (B, S, C) of known cameras, or None to use the two
        learned tokens (index 0 for the reference view, 1 for every other). known: (B, S) bool, which of the
        `camera_tokens` count; None for all. reference: strategy for scenes of three or more views of which no
        camera is known. features: indices of further blocks to return. See `Encoded`.
        """
        b, s, _, height, width_px = images.shape
        ph, pw = height // PATCH, width_px // PATCH
        x = self.patch_embed(images.flatten(0, 1))
        x = torch.cat([self.cls_token.expand(b * s, 1, -1), x], dim=1) + self.position_embedding(ph, pw)
        tokens, c = x.shape[1], x.shape[2]
        start = self.first_aware
        choose = reference != "first" and not self.preset.single_view and s >= 3  # the size last: exports bind it
        choose = choose and (camera_tokens is None or known is not None)
        local_rope = global_rope = None
        if self.preset.rope:
            local_rope = rotary_table(ph, pw, c // self.preset.heads, x, within_view=True)
            global_rope = rotary_table(ph, pw, c // self.preset.heads, x, within_view=False, repeats=s)

        levels: list[Tensor] = []
        extra: dict[int, Tensor] = {}
        camera = x[:, 0]
        local = x
        restore: Tensor | None = None
        for i, block in enumerate(self.blocks):
            if choose and i == start - 1:
                order = reference_order(x.view(b, s, tokens, c)[:, :, 0], reference)
                if known is not None:  # scenes with a known camera keep the frame that it is given in
                    order = torch.where(known.any(1, keepdim=True), torch.arange(s, device=x.device), order)
                restore = order.argsort(dim=1)
                x, local = _reorder(x, order), _reorder(local, order)
            if i == start:
                x = torch.cat([self._camera_tokens(camera_tokens, known, b, s)[:, None], x[:, 1:]], dim=1)
            if i >= start and i % 2 == 1:
                x = block(x.view(b, s * tokens, c), global_rope).view(b * s, tokens, c)
            else:
                x = block(x, local_rope if i >= start else None)
                local = x
            if i in self.preset.taps:
                first, second = (local, x) if restore is None else (_reorder(local, restore), _reorder(x, restore))
                level = self.norm(second[:, 1:])
                if self.preset.single_view:
                    camera = second[:, 0]
                else:
                    level = torch.cat([first[:, 1:], level], dim=-1)
                    camera = torch.cat([first[:, 0], second[:, 0]], dim=-1)
                levels.append(level.view(b, s, tokens - 1, -1))
            if i in features:
                feature = self.norm((x if restore is None else _reorder(x, restore))[:, 1:])
                extra[i] = feature.view(b, s, ph, pw, c)
        return Encoded(levels, camera.view(b, s, -1), extra)

    def _camera_tokens(self, given: Tensor | None, known: Tensor | None, b: int, s: int) -> Tensor:
        """Camera token of every view as (B * S, C): the given one, or a learned one where none is known."""
        if given is not None and known is None:
            return given.flatten(0, 1)
        c = self.camera_token.shape[-1]
        first = self.camera_token[:, :1].expand(b, 1, c)
        others = self.camera_token[:, 1:].expand(b, s - 1, c)
        learned = torch.cat([first, others], dim=1)
        if given is not None and known is not None:
            learned = torch.where(known[..., None], given, learned)
        return learned.reshape(b * s, c)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    """Permute the views of `x` (B * S, T, C) by `order` (B, S)."""
    b, s = order.shape
    views = x.view(b, s, *x.shape[1:])
    index = order[:, :, None, None].expand_as(views)
    return views.gather(1, index).view_as(x)
