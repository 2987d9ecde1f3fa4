# SPDX-License-Identifier: Apache-2.0
"""The networks that look at every image alone: monocular (relative) and metric depth, with sky."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from da3_ros.network.backbone import Encoded
from da3_ros.network.base import Backbone, DepthAnything3, check_images, in_parts
from da3_ros.network.heads import DepthSkyDpt
from da3_ros.network.presets import Preset
from da3_ros.network.sky import push_sky_back

CANONICAL_FOCAL = 300.0
"""Focal length in pixels of the camera for which the metric network's output is in metres."""


class SingleViewNetwork(DepthAnything3):
    """Depth and sky of each image for itself (presets ``da3mono-large`` and ``da3metric-large``)."""

    preset: Preset

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset)
        self.backbone = Backbone(preset)
        self.head = DepthSkyDpt(preset)

    def forward(
        self,
        images: Tensor,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        reference: str = "first",
        *,
        known: Tensor | None = None,
        features: Sequence[int] = (),
        rays: bool = True,
        gaussians: bool = False,
        views_at_once: int | None = None,
    ) -> dict[str, Tensor]:
        """Predict depth of `images` (B, S, 3, H, W), normalised, with H and W multiples of 14.

        Returns depth (B, S, H, W) and sky (B, S, H, W), zero or more: 0.3 and more is sky. The depth of da3mono
        has no unit; that of da3metric becomes metres by `metric_depth`. Out of training the sky of each image lies
        at the 0.99 quantile of its other depths. features: indices of blocks whose normalised patch tokens come back
        as ``features_<index>`` (B, S, H/14, W/14, C). views_at_once: images that the head takes at a time, to bound
        its memory; None for all. `reference` and `rays` make no difference here.

        Raises ValueError for cameras, which this network cannot use, for a Gaussian head, which it does not have,
        and for images of a wrong shape.
        """
        name = self.preset.name
        if extrinsics is not None or intrinsics is not None or known is not None:
            raise ValueError(f"{name} takes no cameras: leave them out, and apply intrinsics by metric_depth()")
        if gaussians:
            raise ValueError(f"{name} has no Gaussian head: use da3-giant or da3nested-giant-large")
        b, s, height, width = check_images(images)
        self.check_features(features)
        encoded = self.backbone.pretrained(images, features=features)
        out = self._head(encoded, (b, s, height, width), views_at_once)
        if not self.training:  # a training loss must see the head's own sky depth, and its gradient
            out["depth"] = push_sky_back(out["depth"], out["sky"])
        return {**out, **{f"features_{i}": value for i, value in encoded.features.items()}}

    def head_outputs(self, images: Tensor, views_at_once: int | None = None) -> dict[str, Tensor]:
        """Depth and sky (B, S, H, W) as the head gives them, without the rule for the depth of the sky."""
        return self._head(self.backbone.pretrained(images), check_images(images), views_at_once)

    def _head(self, encoded: Encoded, sizes: tuple[int, int, int, int], views_at_once: int | None) -> dict[str, Tensor]:
        b, s, height, width = sizes
        levels = [level.flatten(0, 1) for level in encoded.levels]
        out = in_parts(lambda part: self.head(part, height, width), levels, views_at_once)
        return {key: value.unflatten(0, (b, s)) for key, value in out.items()}


def metric_depth(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Metres from the output (..., H, W) of da3metric for cameras (..., 3, 3) in pixels of the network's images.

    ``metres = focal length * output / 300``, with the mean of both focal lengths: the network is trained in the
    space of one camera of 300 pixels (paper, "Teaching Metric Model"; Metric3D, arXiv 2307.10984).
    """
    focal = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
    return depth * (focal / CANONICAL_FOCAL)[..., None, None]
