# SPDX-License-Identifier: Apache-2.0
"""The upstream network as a reference. Only what these tests need of the package is imported."""

from __future__ import annotations

import contextlib
import io
import zlib
from pathlib import Path

import numpy as np
import torch

from da3_ros.network import NestedPreset, Preset

REASON = "needs the upstream package: pip install --no-deps depth-anything-3==0.1.1, with einops addict omegaconf evo"


def build(preset: str, device: str = "cpu") -> torch.nn.Module:
    """Upstream's network `preset` with its own initial weights; ``meta`` allocates none."""
    with contextlib.redirect_stdout(io.StringIO()), _real_linspace(), torch.device(device):
        from depth_anything_3 import cfg

        path = Path(cfg.__file__).parent / "configs" / f"{preset}.yaml"
        return cfg.create_object(cfg.load_config(str(path))).eval()


def build_like(preset: Preset | NestedPreset) -> torch.nn.Module:
    """Upstream's modules put together as in its configurations, with the dimensions of a small `preset`."""
    with contextlib.redirect_stdout(io.StringIO()):
        from depth_anything_3.model import da3

        if isinstance(preset, NestedPreset):
            net = da3.NestedDepthAnything3Net.__new__(da3.NestedDepthAnything3Net)
            torch.nn.Module.__init__(net)
            net.da3, net.da3_metric = build_like(preset.any_view), build_like(preset.metric)
            return net.eval()
        from depth_anything_3.model.cam_dec import CameraDec
        from depth_anything_3.model.cam_enc import CameraEnc
        from depth_anything_3.model.dpt import DPT
        from depth_anything_3.model.dualdpt import DualDPT
        from depth_anything_3.model.gs_adapter import GaussianAdapter
        from depth_anything_3.model.gsdpt import GSDPT

        c, head = preset.width, {"features": preset.head_features, "out_channels": preset.head_channels}
        if preset.single_view:
            return da3.DepthAnything3Net(_Encoder(preset), DPT(c, output_dim=1, **head)).eval()
        parts = {"cam_dec": CameraDec(2 * c), "cam_enc": CameraEnc(c, trunk_depth=preset.camera_encoder_depth)}
        if preset.gaussian_degree is not None:
            parts["gs_adapter"] = GaussianAdapter(preset.gaussian_degree, pred_offset_depth=True)
            parts["gs_head"] = GSDPT(2 * c, output_dim=parts["gs_adapter"].d_in + 1, **head)
        return da3.DepthAnything3Net(_Encoder(preset), DualDPT(2 * c, **head), **parts).eval()


class _Encoder(torch.nn.Module):
    """Upstream's encoder for dimensions that its own wrapper has no name for."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer

        start = preset.alternate_from
        self.taps = list(preset.taps)
        self.pretrained = DinoVisionTransformer(
            img_size=518,
            patch_size=14,
            embed_dim=preset.width,
            depth=preset.depth,
            num_heads=preset.heads,
            ffn_layer="swiglufused" if preset.ffn == "swiglu" else "mlp",
            alt_start=start,
            qknorm_start=start if preset.normalise_qk else -1,
            rope_start=start if preset.rope else -1,
            cat_token=not preset.single_view,
        )

    def forward(self, x, **options):
        return self.pretrained.get_intermediate_layers(x, self.taps, **options)


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


TOLERANCE = 1e-4


def images(b: int, s: int, height: int = 70, width: int = 98) -> torch.Tensor:
    return torch.randn(b, s, 3, height, width, generator=torch.Generator().manual_seed(10 * b + s))


def assert_equal(ours: dict, theirs: dict) -> None:
    for name, expected in theirs.items():
        difference = (ours[name] - expected).abs().max() / expected.abs().max()
        assert ours[name].shape == expected.shape, name
        assert float(difference) < TOLERANCE, f"{name} differs by {float(difference):.1e}"
