# SPDX-License-Identifier: Apache-2.0
"""From linear colour to the photo of a cheap robot camera: exposure, white balance, vignette, blur, noise, tone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from da3_training.data import camera
from da3_training.scenes.arrays import Floats, Pixels


@dataclass(frozen=True)
class Sensor:
    """Camera character, one per cluster of views. Unitless unless said."""

    brightness: float  # mean of the exposed linear image
    exposure_jitter: float  # standard deviation of log exposure from view to view
    white_balance: Floats  # (3,) RGB gains
    gamma: float
    contrast: float
    saturation: float
    vignette: float
    blur: float  # sigma in pixels
    motion: float  # mean length of the motion blur of a view, in pixels
    noise: float
    shade: float  # strength of ambient occlusion from depth
    quality: int  # JPEG 0..100

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Sensor:
        return cls(
            brightness=float(rng.uniform(0.12, 0.36)),
            exposure_jitter=float(rng.choice([0.0, 0.05, 0.15])),
            white_balance=np.exp(rng.normal(0, 0.08, 3)),
            gamma=float(rng.uniform(1.8, 2.5)),
            contrast=float(rng.uniform(0.0, 0.5)),
            saturation=float(rng.uniform(0.6, 1.25)),
            vignette=float(rng.choice([0.0, rng.uniform(0, 0.4)])),
            blur=float(rng.choice([0.0, 0.0, rng.uniform(0.3, 0.9)])),
            motion=float(rng.choice([0.0, 0.0, rng.uniform(1, 6)])),
            noise=float(rng.choice([0.002, 0.008, rng.uniform(0, 0.03)])),
            shade=float(rng.uniform(0.0, 0.9)),
            quality=int(rng.integers(70, 96)),
        )

    def rows(self, rng: np.random.Generator, views: int, distortion: float = 0.0) -> Floats:
        """What `da3_training.data.exposure` needs to take `views` photos: (S, NUMBERS) f32, views drawn with `rng`.

        distortion: coefficient of the lens.
        """
        rows = np.zeros((views, camera.NUMBERS), np.float32)
        for at, value in (
            (camera.BRIGHTNESS, self.brightness),
            (camera.GAMMA, self.gamma),
            (camera.CONTRAST, self.contrast),
            (camera.SATURATION, self.saturation),
            (camera.VIGNETTE, self.vignette),
            (camera.BLUR, self.blur),
            (camera.NOISE, self.noise),
            (camera.SHADE, self.shade),
            (camera.QUALITY, self.quality),
            (camera.LENS, distortion),
        ):
            rows[:, at] = value
        rows[:, camera.WHITE : camera.WHITE + 3] = self.white_balance
        rows[:, camera.GAIN] = np.exp(rng.normal(0, self.exposure_jitter, views))
        if self.motion:
            rows[:, camera.LENGTH] = rng.exponential(self.motion, views)
            rows[:, camera.ANGLE] = rng.uniform(0, np.pi, views)
        rows[:, camera.SEED] = rng.integers(camera.SEEDS, size=views)
        return rows

    def expose(self, linear: Floats, depth: Floats, rng: np.random.Generator) -> Pixels:
        """Linear RGB (H, W, 3) f32 and depth (H, W) metres -> photo (H, W, 3) uint8 RGB."""
        h, w = depth.shape
        inverse = np.where(depth > 0, 1 / np.maximum(depth, 0.05), 0).astype(np.float32)
        image = linear
        if self.shade > 0:
            near = cv2.blur(inverse, (max(3, w // 24), max(3, w // 24)))
            dark = np.clip((near - inverse) / np.maximum(near, 1e-3), 0, 0.25) * self.shade
            image = image * (1 - dark)[..., None]
        grey = image @ np.array([0.3, 0.55, 0.15], np.float32)
        gain = self.brightness / max(float(np.minimum(grey, 3 * np.median(grey) + 1e-3).mean()), 1e-3)
        image = image * (
            np.float32(min(gain, 60.0) * np.exp(rng.normal(0, self.exposure_jitter)))
            * self.white_balance.astype(np.float32)
        )
        if self.vignette:
            y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
            image = image * (1 - self.vignette * (x * x + y * y) / 2).astype(np.float32)[..., None]
        if self.blur:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        if self.motion:
            image = smear(image, float(rng.exponential(self.motion)), float(rng.uniform(0, np.pi)))
        if self.noise:
            image = image + rng.standard_normal(image.shape, np.float32) * (
                self.noise * np.sqrt(np.maximum(image, 0) + 0.02)
            )
        grey = image @ np.array([0.3, 0.55, 0.15], np.float32)
        image = grey[..., None] + self.saturation * (image - grey[..., None])
        image = cv2.pow(np.clip(image, 0, None) / (1 + 0.25 * np.clip(image, 0, 4)), 1 / self.gamma)
        image = np.clip(image * np.float32(1.08), 0, 1)
        image = image + np.float32(self.contrast) * (image * image * (3 - 2 * image) - image)
        return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def smear(image: Floats, length: float, angle: float) -> Floats:
    """Linear colour (H, W, 3) averaged along a line of `length` pixels (at most 15) at `angle` radians to the rows."""
    steps = np.linspace(-0.5, 0.5, 31) * min(length, 15.0)
    kernel = np.zeros((17, 17), np.float32)
    for x, y in zip(8 + steps * np.cos(angle), 8 + steps * np.sin(angle), strict=True):
        # Each point is shared out among the four cells around it.
        c, r = int(x), int(y)
        for dr in (0, 1):
            for dc in (0, 1):
                kernel[r + dr, c + dc] += (1 - abs(x - c - dc)) * (1 - abs(y - r - dr))
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
