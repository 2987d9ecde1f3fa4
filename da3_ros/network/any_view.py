# SPDX-License-Identifier: Apache-2.0
"""The any-view network: geometry of one scene from any number of its images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from da3_ros.geometry.gaussians import RAW, RAW_OPACITY, pose_scale, world_gaussians
from da3_ros.network.base import Backbone, DepthAnything3, check_images, in_parts
from da3_ros.network.camera_codec import CameraDecoder, CameraEncoder, decode_camera
from da3_ros.network.gaussian_head import GaussianDpt
from da3_ros.network.heads import DualDpt
from da3_ros.network.presets import Preset
from da3_ros.network.reference_view import check_strategy


class AnyViewNetwork(DepthAnything3):
    """Depth, rays and cameras from any number of views of one scene (paper section 3.1)."""

    preset: Preset

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset)
        self.backbone = Backbone(preset)
        self.head = DualDpt(preset)
        self.cam_dec = CameraDecoder(2 * preset.width)
        self.cam_enc = CameraEncoder(preset.width, preset.camera_encoder_depth)
        if preset.gaussian_degree is not None:
            self.gs_head = GaussianDpt(preset)

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
    ) -> dict[str, Tensor]:
        """Predict the geometry of `images` (B, S, 3, H, W), normalised, with H and W multiples of 14.

        extrinsics: T_camera_world (B, S, 3 or 4, 4), OpenCV axes, of known cameras; needs intrinsics (B, S, 3, 3)
        in pixels of these images. One alone is an error: the camera code holds both, and intrinsics by themselves
        cannot condition this network. Any number of cameras in any position will do. known: (B, S) bool, which of
        the cameras are known; None for all. Where it is False the values of extrinsics and intrinsics are ignored
        (NaN will do) and a learned token stands for the camera: the reference token for view 0, the other one for
        later views. The published networks were trained on scenes of which all cameras or none are known, so a mix
        is an extrapolation.
        reference: strategy that picks the reference view of scenes of three or more views without a known camera.
        features: indices of blocks whose normalised patch tokens come back as ``features_<index>``
        (B, S, H/14, W/14, C). rays: False leaves out the ray map, and the half of the head that only rays need.
        gaussians: predict 3D Gaussians too, where the preset has the head for it. views_at_once: images that a head
        takes at a time, to bound its memory; None for all.

        Returns depth and depth_conf (B, S, H, W); ray (B, S, h, w, 6), direction then origin, and ray_conf
        (B, S, h, w) at 8/14 of the image size; extrinsics T_camera_world (B, S, 3, 4); intrinsics (B, S, 3, 3);
        pose_code (B, S, 9), the camera head's raw output. Scale is arbitrary but common to all views of a scene.
        All outputs are in the order of `images`. With `gaussians` also the fields of `Gaussians` under
        ``gaussian_<field>``, one Gaussian a pixel (B, S, H, W, ...), in the world of the predicted cameras enlarged by
        gaussian_pose_scale (B,): that of the given cameras where some are known, within 1/3 to 3, otherwise 1; and what
        the head itself says, gaussian_raw (B, S, H, W, R) and gaussian_raw_opacity (B, S, H, W), see `world_gaussians`.

        Raises ValueError for a shape or a combination of inputs that the network cannot use.
        """
        check_strategy(reference)
        b, s, height, width = check_images(images)
        self.check_features(features)
        if gaussians and self.preset.gaussian_degree is None:
            raise ValueError(f"{self.preset.name} has no Gaussian head: use da3-giant or da3nested-giant-large")
        camera_tokens, known = self._condition((b, s, height, width), extrinsics, intrinsics, known)
        encoded = self.backbone.pretrained(images, camera_tokens, reference, known=known, features=features)
        levels = [level.flatten(0, 1) for level in encoded.levels]
        out = in_parts(lambda part: self.head(part, height, width, rays), levels, views_at_once)
        out = {name: value.unflatten(0, (b, s)) for name, value in out.items()}
        code = self.cam_dec(encoded.camera)
        out["pose_code"] = code
        out["extrinsics"], out["intrinsics"] = decode_camera(code, height, width)
        if gaussians:
            inputs = [*levels, images.flatten(0, 1)]
            raw = in_parts(lambda part: self.gs_head(part[:-1], part[-1]), inputs, views_at_once)
            raw = {name: value.unflatten(0, (b, s)) for name, value in raw.items()}
            out[RAW], out[RAW_OPACITY] = raw["raw"], raw["opacity"]
            if not torch.compiler.is_exporting():  # the rest needs no network: whoever runs a graph does it
                out.update(_in_the_world(raw, out, extrinsics if camera_tokens is not None else None, known))
        return {**out, **{f"features_{i}": value for i, value in encoded.features.items()}}

    def _condition(
        self,
        sizes: tuple[int, int, int, int],
        extrinsics: Tensor | None,
        intrinsics: Tensor | None,
        known: Tensor | None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Camera tokens (B, S, C) and which of them count (B, S); None and None where there is nothing to mix."""
        b, s, height, width = sizes
        if extrinsics is None or intrinsics is None:
            if extrinsics is not None:
                raise ValueError("extrinsics were given without intrinsics: give both, or neither")
            if intrinsics is not None:
                raise ValueError("intrinsics alone do not condition this network: give extrinsics too, or neither")
            if known is not None:
                raise ValueError("known was given without cameras: give extrinsics and intrinsics too, or neither")
            return None, None
        if extrinsics.shape not in ((b, s, 3, 4), (b, s, 4, 4)):
            raise ValueError(f"extrinsics must be ({b}, {s}, 3 or 4, 4) as the images, got {tuple(extrinsics.shape)}")
        if intrinsics.shape != (b, s, 3, 3):
            raise ValueError(f"intrinsics must be ({b}, {s}, 3, 3) as the images, got {tuple(intrinsics.shape)}")
        if known is not None:
            if known.dtype != torch.bool or known.shape != (b, s):
                raise ValueError(f"known must be bool ({b}, {s}), got {known.dtype} {tuple(known.shape)}")
            if not torch.compiler.is_exporting():  # a graph takes any mask
                if not known.any():
                    return None, None
                if known.all():  # without a mask: the same sums in the same order as without `known`
                    known = None
        return self.cam_enc(extrinsics, intrinsics, height, width, known), known


def _in_the_world(
    raw: dict[str, Tensor], out: dict[str, Tensor], given: Tensor | None, known: Tensor | None
) -> dict[str, Tensor]:
    """Gaussians from the head's output and the predicted depth and cameras, at the scale of the given cameras."""
    depth, extrinsics = out["depth"], out["extrinsics"]
    scale = torch.ones_like(depth[:, 0, 0, 0])
    if given is not None:
        scale = pose_scale(extrinsics.detach(), given.detach(), known)
        stretch = scale[:, None, None, None]
        extrinsics = torch.cat([extrinsics[..., :3], extrinsics[..., 3:] * stretch], dim=-1)
        # The head's own depth offset is not yet in this depth, but it is in the unit of the prediction.
        raw = {**raw, "raw": torch.cat([raw["raw"][..., :-1], raw["raw"][..., -1:] * stretch[..., None]], dim=-1)}
        depth = depth * stretch
    world = world_gaussians(raw["raw"], raw["opacity"], depth, extrinsics, out["intrinsics"])
    return {**world.as_output(), "gaussian_pose_scale": scale}
