# SPDX-License-Identifier: Apache-2.0
"""The nested network: any-view geometry in metres, its scale from a metric network on the same images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from da3_ros.geometry.gaussians import OUTPUT
from da3_ros.network.any_view import AnyViewNetwork
from da3_ros.network.base import DepthAnything3
from da3_ros.network.presets import NestedPreset
from da3_ros.network.single_view import SingleViewNetwork, metric_depth
from da3_ros.network.sky import ENOUGH_PIXELS, SKY_QUANTILE, is_sky, larger_half, masked_quantile

FARTHEST_SKY = 200.0
"""Sky is put no farther than this, in metres."""

MIN_DEPTH, MIN_METRES = 1e-3, 1e-2
"""Depths of the any-view and the metric network that are too small to compare."""


class NestedNetwork(DepthAnything3):
    """An any-view network scaled to metres (preset ``da3nested-giant-large``)."""

    preset: NestedPreset

    def __init__(self, preset: NestedPreset) -> None:
        super().__init__(preset)
        self.da3 = AnyViewNetwork(preset.any_view)
        self.da3_metric = SingleViewNetwork(preset.metric)

    def forward(
        self,
        images: Tensor,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        reference: str = "saddle_balanced",
        *,
        known: Tensor | None = None,
        features: Sequence[int] = (),
        rays: bool = True,
        gaussians: bool = False,
        views_at_once: int | None = None,
        in_units: bool = False,
    ) -> dict[str, Tensor]:
        """Predict the geometry of `images` in metres; arguments and outputs as in `AnyViewNetwork.forward`.

        Depth, the origins of the rays, the translations of the extrinsics and the Gaussians are in metres, with one
        scale for each scene; the translation in pose_code is not. Further outputs: sky (B, S, H, W), 0.3 and more is
        sky; metric_scale (B,), metres per unit of the any-view network. The depth of the sky is that of the farthest
        hundredth of the scene, at most 200 m, and its confidence 1.

        Where a scene shows too little besides sky to tell its scale, metric_scale and everything in metres are NaN.

        in_units: nothing is scaled: lengths are in the any-view network's unit, sky is at its own depth there, and
        metric_scale is 0 where a scene does not tell its scale. This is what exported graphs compute.
        """
        out = self.da3(
            images,
            extrinsics,
            intrinsics,
            reference,
            known=known,
            features=features,
            rays=rays,
            gaussians=gaussians,
            views_at_once=views_at_once,
        )
        single = self.da3_metric.head_outputs(images, views_at_once)
        far = is_sky(single["sky"])
        metres = metric_depth(single["depth"], out["intrinsics"])
        out["metric_scale"] = scene_scale(out["depth"], out["depth_conf"], metres, far)
        out["depth_conf"] = torch.where(far, 1.0, out["depth_conf"])
        out["sky"] = single["sky"]
        return out if in_units else _in_metres(out, far)


def _in_metres(out: dict[str, Tensor], far: Tensor) -> dict[str, Tensor]:
    scale = torch.where(out["metric_scale"] > 0, out["metric_scale"], torch.nan)
    out = {**_scaled(out, scale), "metric_scale": scale}
    depth, far_depth = out["depth"], _sky_depth(out["depth"], far)
    out["depth"] = torch.where(far, far_depth[:, None, None, None], depth)
    return out


def scene_scale(depth: Tensor, confidence: Tensor, metres: Tensor, far: Tensor) -> Tensor:
    """Metres per unit (B,) of each scene's depth (B, S, H, W), by least squares against depth in metres.

    far: bool, the sky. Of the other pixels the more confident half counts, by the scene's median. 0 for scenes with ten
    such pixels or fewer.
    """
    near = ~far.flatten(1)
    d, c, m = depth.flatten(1), confidence.flatten(1), metres.flatten(1)
    use = larger_half(c, near) & (m > MIN_METRES) & (d > MIN_DEPTH)
    products, squares = torch.where(use, m * d, 0).sum(1), torch.where(use, d * d, 0).sum(1)
    enough = use.to(torch.int32).sum(1, dtype=torch.int32) > ENOUGH_PIXELS
    return torch.where(enough, products / squares.clamp(min=1e-12), 0)


def _scaled(out: dict[str, Tensor], scale: Tensor) -> dict[str, Tensor]:
    """All lengths of an any-view output times `scale` (B,)."""
    length = {
        "depth": slice(None),
        "ray": slice(3, 6),
        "extrinsics": slice(3, 4),
        OUTPUT + "means": slice(None),
        OUTPUT + "scales": slice(None),
    }
    out = dict(out)
    for name, part in length.items():
        if name in out:
            value = out[name].clone()
            value[..., part] *= scale.view(-1, *[1] * (value.ndim - 1))
            out[name] = value
    return out


def _sky_depth(depth: Tensor, far: Tensor) -> Tensor:
    """Depth of the sky (B,) of scenes (B, S, H, W), in metres."""
    return masked_quantile(depth.flatten(1), ~far.flatten(1), SKY_QUANTILE).clamp(max=FARTHEST_SKY)
