# SPDX-License-Identifier: Apache-2.0
"""The upstream network as a reference. Only what these tests need of the package is imported."""

from __future__ import annotations

import contextlib
import io
import zlib
from pathlib import Path

import numpy as np
import torch

REASON = "needs the upstream package: pip install --no-deps depth-anything-3==0.1.1, with einops addict omegaconf evo"


def build(preset: str, device: str = "cpu") -> torch.nn.Module:
    """Upstream's network `preset` with its own initial weights; ``meta`` allocates none."""
    with contextlib.redirect_stdout(io.StringIO()), _real_linspace(), torch.device(device):
        from depth_anything_3 import cfg

        path = Path(cfg.__file__).parent / "configs" / f"{preset}.yaml"
        return cfg.create_object(cfg.load_config(str(path))).eval()


def run(net: torch.nn.Module, images, extrinsics=None, intrinsics=None, reference="saddle_balanced") -> dict:
    """Outputs by our names, with the rays that upstream computes and then drops."""
    kept = {}
    hook = net.head.register_forward_hook(lambda module, args, out: kept.update(out))
    try:
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            out = net(images, extrinsics, intrinsics, ref_view_strategy=reference)
    finally:
        hook.remove()
    names = ("depth", "depth_conf", "extrinsics", "intrinsics")
    return {**{k: out[k] for k in names}, "ray": kept["ray"], "ray_conf": kept["ray_conf"]}


def seeded_weights(state: dict[str, torch.Tensor], aliases: dict[str, str]) -> dict[str, torch.Tensor]:
    """Weights that depend on the key alone and keep activations in a sane range; aliases share their original's."""
    out = {}
    for key, value in state.items():
        name = aliases.get(key, key)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        x = rng.standard_normal(tuple(value.shape), dtype=np.float32)
        last = name.rsplit(".", 1)[-1]
        if last == "gamma":
            x = 0.3 + 0.1 * x
        elif last in ("cls_token", "camera_token", "pos_embed"):
            x = 0.5 * x
        elif value.ndim == 1:
            x = 1 + 0.1 * x if last == "weight" else 0.05 * x
        else:
            x = x / np.sqrt(np.prod(value.shape[1:]))
        out[key] = torch.from_numpy(x.astype(np.float32))
    return out


@contextlib.contextmanager
def _real_linspace():
    """Upstream reads values of ``torch.linspace`` while it builds, which has none on the meta device."""
    original = torch.linspace
    torch.linspace = lambda *args, **kwargs: original(*args, **{**kwargs, "device": "cpu"})
    try:
        yield
    finally:
        torch.linspace = original
