# SPDX-License-Identifier: Apache-2.0
"""The shapes of the published networks and of our own ``da3-nano``."""

from __future__ import annotations

from dataclasses import dataclass

PATCH = 14
"""Side of an image patch in pixels; every input side is a multiple of it."""

POSITION_GRID = 37
"""The position embedding is stored for a 37 x 37 grid of patches (518 pixels / 14)."""

SINGLE_VIEW = -1
"""Value of ``alternate_from`` for networks whose blocks never look across views."""


@dataclass(frozen=True)
class Preset:
    """Everything that decides the parameters of one network.

    The first ``alternate_from`` blocks attend within each view. From there on blocks of odd index attend
    across all views and blocks of even index within each view (paper section 3.1; which indices these are
    is a fact of the published checkpoints). Single-view networks never alternate: see `SINGLE_VIEW`.
    """

    name: str
    width: int
    """Token dimension C of the ViT."""
    depth: int
    """Number of transformer blocks."""
    heads: int
    """Attention heads of the ViT; the head dimension is width / heads."""
    taps: tuple[int, int, int, int]
    """Indices of the blocks whose output feeds the four levels of the DPT head."""
    alternate_from: int
    """Index of the first block that knows about views: the camera token enters here. `SINGLE_VIEW` for none."""
    head_features: int
    """Channels F of the DPT fusion path."""
    head_channels: tuple[int, int, int, int]
    """Channels of the four reassembled levels, finest first."""
    ffn: str = "mlp"
    """``mlp`` (GELU, hidden 4 C) or ``swiglu`` (DINOv2 giant)."""
    normalise_qk: bool = True
    """LayerNorm on queries and keys from ``alternate_from`` on."""
    rope: bool = True
    """Rotary position embedding on patches from ``alternate_from`` on."""
    camera_encoder_depth: int = 4
    """Transformer blocks in the encoder of known cameras."""
    gaussian_degree: int | None = None
    """Degree of the spherical harmonics that the Gaussian head predicts; None for a network without that head."""

    @property
    def single_view(self) -> bool:
        """Whether every image is looked at alone: depth and sky from one DPT head, no rays and no cameras."""
        return self.alternate_from == SINGLE_VIEW

    @property
    def feature_dim(self) -> int:
        """Channels of a tapped level: any-view networks join a within-view and a cross-view block."""
        return self.width if self.single_view else 2 * self.width

    @property
    def swiglu_hidden(self) -> int:
        """Hidden width of the SwiGLU feed-forward: two thirds of 4 C, rounded up to a multiple of 8."""
        return (int(4 * self.width * 2 / 3) + 7) // 8 * 8


@dataclass(frozen=True)
class NestedPreset:
    """An any-view network whose scale comes from a metric single-view network on the same images."""

    name: str
    any_view: Preset
    metric: Preset


def _single_view_large(name: str) -> Preset:
    """The shape that the monocular and the metric network share; only their names tell their files apart."""
    return Preset(
        name,
        1024,
        24,
        16,
        (4, 11, 17, 23),
        SINGLE_VIEW,
        256,
        (256, 512, 1024, 1024),
        normalise_qk=False,
        rope=False,
    )


_GIANT = Preset(
    "da3-giant",
    1536,
    40,
    24,
    (19, 27, 33, 39),
    13,
    256,
    (256, 512, 1024, 1024),
    ffn="swiglu",
    gaussian_degree=2,
)
_METRIC = _single_view_large("da3metric-large")

PRESETS: dict[str, Preset | NestedPreset] = {
    preset.name: preset
    for preset in (
        Preset("da3-small", 384, 12, 6, (5, 7, 9, 11), 4, 64, (48, 96, 192, 384)),
        Preset("da3-base", 768, 12, 12, (5, 7, 9, 11), 4, 128, (96, 192, 384, 768)),
        Preset("da3-large", 1024, 24, 16, (11, 15, 19, 23), 8, 256, (256, 512, 1024, 1024)),
        _GIANT,
        _single_view_large("da3mono-large"),
        _METRIC,
        NestedPreset("da3nested-giant-large", _GIANT, _METRIC),
        # Ours. Without query/key norm and RoPE the features stay close to the pretrained encoder it starts from.
        Preset(
            "da3-nano",
            384,
            8,
            6,
            (3, 5, 6, 7),
            4,
            48,
            (32, 64, 128, 192),
            normalise_qk=False,
            rope=False,
            camera_encoder_depth=1,
        ),
    )
}
"""Every network by name."""


def get_preset(name: str) -> Preset | NestedPreset:
    """Return the preset called `name`; raises ``ValueError`` that lists the known names."""
    if name not in PRESETS:
        raise ValueError(f"unknown network preset {name!r}; known presets: {', '.join(PRESETS)}")
    return PRESETS[name]
