# SPDX-License-Identifier: Apache-2.0
"""Weights, images and cameras that are the same everywhere; how far outputs are apart, and how far they may be."""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpu_proof.checks import Failure, Missing, demand

BORROWED = ("scipy._lib.array_api_compat", "scipy._external.array_api_compat", "sklearn.externals.array_api_compat")
"""Copies of array-api-compat inside packages that a machine with PyTorch is likely to have."""


@dataclass(frozen=True)
class Tolerance:
    """Largest error of every output, of which `largest` is relative to its largest value and `mean` to its mean one."""

    largest: float
    mean: float


TOLERANCES = {
    # Rounding costs 5.7e-6 and 3.0e-6 on a CPU. A GPU adds in another order, and its convolutions may be Winograd's,
    # ten times as coarse. TF32 costs seven times what is allowed here, so it cannot pass for float32.
    "float32": Tolerance(3e-4, 1e-4),
    # Three times what rounding costs: 4.1e-3 and 1.5e-3; and 4.5e-2 and 1.4e-2.
    "tf32": Tolerance(1.5e-2, 5e-3),
    "bfloat16": Tolerance(0.12, 0.04),
}
"""By arithmetic. What rounding alone costs is measured by `python tools/gpu_check.py --rounding`, on a CPU and with
seeded weights, which round worse than trained ones. A wrong operator costs 1.
"""


def need_torch() -> Any:
    """PyTorch, with what our network needs beside it. Raises Missing.

    The network needs array-api-compat. Where it is not installed a copy inside another package stands in for it.
    """
    try:
        import torch
    except ImportError as error:
        raise Missing(f"PyTorch is not installed ({error})") from error
    borrow_array_api()
    return torch


def borrow_array_api() -> str:
    """Make ``array_api_compat`` importable and return whose it is, for a report. Raises Missing."""
    for name in ("array_api_compat", *BORROWED):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        sys.modules.setdefault("array_api_compat", module)
        return module.__name__
    raise Missing("array-api-compat is not installed (pip install array-api-compat), nor SciPy, which has a copy of it")


def seed_weights(model: Any) -> None:
    """Weights that follow from their names alone, in place, and keep activations and cameras in a sane range."""
    import torch

    with torch.no_grad():
        for key, value in model.named_parameters():
            last = key.rsplit(".", 1)[-1]
            x = torch.randn(value.shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
            if last == "gamma":
                x = 0.3 + 0.1 * x
            elif last in ("cls_token", "camera_token", "pos_embed"):
                x = 0.5 * x
            elif value.ndim == 1:
                x = 1 + 0.1 * x if last == "weight" else 0.05 * x
            else:
                x = x / value[0].numel() ** 0.5
            value.copy_(x)
        # About 57 degrees wide, hardly turned: a field of view near 0 would make the focal length a matter of rounding.
        model.cam_dec.fc_fov[0].bias.fill_(1.0)
        model.cam_dec.fc_qvec.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))


def draw_images(views: int, height: int, width: int) -> Any:
    """Normalised images (1, views, 3, height, width), float32: one smooth picture, with noise of each view's own."""
    import torch

    generator = torch.Generator().manual_seed(views)
    coarse = torch.randn(1, 3, 8, 14, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    noise = torch.randn(views, 3, height, width, generator=generator)
    return (picture.expand(views, -1, -1, -1) + 0.3 * noise)[None]


def draw_cameras(views: int, height: int, width: int) -> tuple[Any, Any]:
    """T_camera_world (1, views, 4, 4) of cameras side by side, each turned by another tenth of a radian, and intrinsics
    (1, views, 3, 3) in pixels.
    """
    import torch

    angle = 0.1 * torch.arange(views)
    extrinsics = torch.eye(4).repeat(1, views, 1, 1)
    extrinsics[0, :, 0, 0] = extrinsics[0, :, 2, 2] = angle.cos()
    extrinsics[0, :, 0, 2], extrinsics[0, :, 2, 0] = angle.sin(), -angle.sin()
    extrinsics[0, :, 0, 3] = 0.3 * torch.arange(views)
    focal = 0.8 * width
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return extrinsics, intrinsics.repeat(1, views, 1, 1)


def errors(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """By output: the largest error relative to its largest value, the mean one relative to its mean; of extrinsics also
    the largest angle between rotations, in degrees. Raises Failure where outputs differ in kind or are not finite.
    """
    demand(set(found) == set(expected), f"the outputs are {sorted(found)}, expected {sorted(expected)}")
    out = {}
    for name, wanted in expected.items():
        a, b = found[name].detach().double().cpu(), wanted.detach().double().cpu()
        demand(a.shape == b.shape, f"{name} is {tuple(a.shape)}, expected {tuple(b.shape)}")
        demand(bool(a.isfinite().all()), f"{name} is not finite everywhere")
        difference = (a - b).abs()
        out[name] = {
            "largest": float(difference.max() / b.abs().max()),
            "mean": float(difference.mean() / b.abs().mean()),
        }
        if name == "extrinsics":
            # From the chord between rotations: an arc cosine would round small angles away.
            chord = difference[..., :3, :3].square().sum((-2, -1)).sqrt().max() / 8**0.5
            out[name]["degrees"] = float(2 * chord.clamp(max=1).arcsin().rad2deg())
    return out


def worst(found: Mapping[str, Mapping[str, float]]) -> tuple[str, float, str, float]:
    """Output and size of the largest error, then output and size of the largest mean error."""
    largest = max(found, key=lambda name: found[name]["largest"])
    mean = max(found, key=lambda name: found[name]["mean"])
    return largest, found[largest]["largest"], mean, found[mean]["mean"]


def judge(found: Mapping[str, Mapping[str, float]], arithmetic: str) -> None:
    """Raise Failure that names every output whose error is above the tolerance of `arithmetic`."""
    allowed = TOLERANCES[arithmetic]
    words = [
        f"{name} is off by {value:.1e} ({kind}), allowed {limit:g}"
        for name, output in found.items()
        for kind, value, limit in (
            ("largest", output["largest"], allowed.largest),
            ("mean", output["mean"], allowed.mean),
        )
        if not value <= limit
    ]
    if words:
        raise Failure("; ".join(words))
