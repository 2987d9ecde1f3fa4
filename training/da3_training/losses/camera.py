# SPDX-License-Identifier: Apache-2.0
"""Camera loss on the nine numbers of the camera head."""

import torch
from torch import Tensor

from da3_ros.geometry.poses import invert
from da3_ros.network.camera_codec import encode_camera
from da3_training.data.normalise import Scene


def camera_loss(code: Tensor, scene: Scene) -> Tensor:
    """L_C = |t^ - t| + |q^ - q| + |fov^ - fov|, each a mean over its components (paper section 3.3).

    code: (B, S, 9). The quaternion is compared as predicted, so that the head learns unit norm and w >= 0 too.
    """
    height, width = scene.depth.shape[-2:]
    target = encode_camera(invert(scene.pose), scene.intrinsics, height, width)
    error = (code - target).abs()
    return torch.stack([error[..., :3].mean(), error[..., 3:7].mean(), error[..., 7:].mean()]).sum()
