# SPDX-License-Identifier: Apache-2.0
"""How like two images are: PSNR, SSIM and LPIPS, as figures of novel views have them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]
"""(H, W, 3) red, green, blue, 0 to 1."""

Lpips = Callable[[Image, Image], float]

TRUNKS = {"vgg": "vgg16-397923af.pth", "alex": "alexnet-owt-7be5be79.pth"}
"""Files of torchvision's weights that LPIPS stands on, by its name of the network."""


def psnr(image: Image, truth: Image) -> float:
    """Peak signal-to-noise ratio in dB, of a peak of 1; infinite for equal images."""
    error = float(np.mean((np.asarray(image, np.float64) - truth) ** 2))
    return -10 * float(np.log10(error)) if error > 0 else float("inf")


def ssim(image: Image, truth: Image) -> float:
    """Structural similarity (Wang et al. 2004: a Gaussian window of 11 pixels, sigma 1.5), mean of pixels and colours.

    Raises ValueError for images with a side below 11 pixels.
    """
    from skimage.metrics import structural_similarity

    if min(image.shape[:2]) < 11:
        raise ValueError(f"SSIM has a window of 11 pixels, an image of {image.shape[1]}x{image.shape[0]} has no such")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    a, b = (np.asarray(x, np.float64) for x in (image, truth))
    return float(structural_similarity(a, b, channel_axis=2, data_range=1.0, **options))


def find_lpips(net: str = "vgg") -> tuple[Lpips | None, str]:
    """LPIPS (Zhang et al. 2018, version 0.1) on a network of `TRUNKS`, or None and what it lacks, in words.

    Nothing is fetched: the weights of the network must lie where torchvision keeps them.
    """
    missing = [name for name in ("torch", "torchvision", "lpips") if find_spec(name) is None]
    if missing:
        return None, f"LPIPS is left out: {', '.join(missing)} not installed (`pip install torchvision lpips`)"
    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / TRUNKS[net]
    if not weights.is_file():
        return None, f"LPIPS is left out: it needs torchvision's weights {weights}, which are not there"
    import lpips

    network = lpips.LPIPS(net=net, version="0.1", verbose=False).eval()

    def score(image: Image, truth: Image) -> float:
        a, b = (torch.from_numpy(np.asarray(x, np.float32)).permute(2, 0, 1)[None] for x in (image, truth))
        with torch.inference_mode():
            return float(network(a, b, normalize=True))

    return score, ""
