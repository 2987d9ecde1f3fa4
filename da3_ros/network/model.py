# SPDX-License-Identifier: Apache-2.0
"""The assembled any-view network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from da3_ros.network.backbone import VisionTransformer
from da3_ros.network.camera_codec import CameraDecoder, CameraEncoder, decode_camera
from da3_ros.network.heads import DualDpt
from da3_ros.network.presets import PATCH, Preset, get_preset
from da3_ros.network.reference_view import check_strategy

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Container that gives the encoder the prefix of the published files."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.pretrained = VisionTransformer(preset)


class DepthAnything3(nn.Module):
    """Depth, rays and cameras from any number of views of one scene (arXiv 2511.10647).

    The state dict has the key names of the published files without their ``model.`` prefix.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.backbone = Backbone(preset)
        self.head = DualDpt(preset)
        self.cam_dec = CameraDecoder(2 * preset.width)
        self.cam_enc = CameraEncoder(preset.width, preset.camera_encoder_depth)

    def forward(
        self,
        images: Tensor,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        reference: str = "saddle_balanced",
    ) -> dict[str, Tensor]:
        """Predict the geometry of `images` (B, S, 3, H, W), normalised, with H and W multiples of 14.

        extrinsics: T_camera_world (B, S, 3 or 4, 4), OpenCV axes, of known cameras; needs intrinsics (B, S, 3, 3)
        in pixels of these images. reference: strategy that picks the reference view among three or more unposed
        views. Returns depth and depth_conf (B, S, H, W); ray (B, S, h, w, 6), direction then origin, and ray_conf
        (B, S, h, w) at 8/14 of the image size; extrinsics T_camera_world (B, S, 3, 4); intrinsics (B, S, 3, 3);
        pose_code (B, S, 9), the camera head's raw output. Scale is arbitrary but common to all views.

        Raises ValueError for a shape or a combination of inputs that the network cannot use.
        """
        check_strategy(reference)
        if images.ndim != 5 or images.shape[2] != 3:
            raise ValueError(f"images must be (B, S, 3, H, W), got {tuple(images.shape)}")
        b, s, _, height, width = images.shape
        if height % PATCH or width % PATCH:
            raise ValueError(f"image size {height}x{width} must be a multiple of {PATCH} on both sides: resize first")
        camera_tokens = None
        if extrinsics is not None:
            if intrinsics is None:
                raise ValueError("extrinsics were given without intrinsics: give both, or neither")
            camera_tokens = self.cam_enc(extrinsics, intrinsics, height, width)
        elif intrinsics is not None:
            raise ValueError("intrinsics alone do not condition this network: give extrinsics too, or neither")
        levels, camera = self.backbone.pretrained(images, camera_tokens, reference)
        out = self.head([level.flatten(0, 1) for level in levels], height, width)
        out = {name: value.unflatten(0, (b, s)) for name, value in out.items()}
        code = self.cam_dec(camera)
        out["pose_code"] = code
        out["extrinsics"], out["intrinsics"] = decode_camera(code, height, width)
        return out


def create_model(name: str) -> DepthAnything3:
    """Network of preset `name` with fresh weights; raises ``ValueError`` that lists the known names."""
    model = DepthAnything3(get_preset(name))
    with torch.no_grad():
        vit = model.backbone.pretrained
        for token in (vit.cls_token, vit.camera_token, vit.pos_embed):
            nn.init.trunc_normal_(token, std=0.02)
    return model
