# SPDX-License-Identifier: Apache-2.0
"""A renderer on a device that does nothing: what is left is the processor's own work, which a GPU does not take over.

Views that a real renderer drew before take the place of what the device would answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import moderngl
import numpy as np

from da3_training.scenes.arrays import Floats, Pixels
from da3_training.scenes.render import Renderer

View = tuple[Pixels, Floats]
"""Picture (H, W, 3) u8 and depth (H, W) f32."""


class RecordingRenderer(Renderer):
    """Draws, and keeps what it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[View] = []

    def fetch(self, width: int, height: int, number: int, picture: Pixels, depth: Floats) -> None:
        """See `Renderer.fetch`."""
        super().fetch(width, height, number, picture, depth)
        self.views.append((picture.copy(), depth.copy()))


class IdleRenderer(Renderer):
    """All of `Renderer` but OpenGL; `views` are what is fetched, in their order."""

    def __init__(self, views: Iterator[View]) -> None:
        with mock.patch.object(moderngl, "create_standalone_context", return_value=_Idle()):
            super().__init__()
        self._views = views

    def fetch(self, width: int, height: int, number: int, picture: Pixels, depth: Floats) -> None:
        """The next view; raises RuntimeError where there is none left, or one of another size."""
        super().fetch(width, height, number, picture, depth)
        kept = next(self._views, None)
        if kept is None or kept[1].shape != depth.shape:
            raise RuntimeError(f"asked for a view of {depth.shape} that was not drawn before: not the same rooms")
        np.copyto(picture, kept[0])
        np.copyto(depth, kept[1])


class _Idle:
    """Stands for everything on a device, and for what can be called there; nothing comes of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Idle()

    def __call__(self, *_: Any, **__: Any) -> _Idle:
        return _Idle()

    def __getitem__(self, name: str) -> _Uniform:
        return _Uniform()

    @property
    def color_attachments(self) -> tuple[_Texture, _Texture]:
        """Of a framebuffer."""
        return _Texture(), _Texture()


class _Uniform(moderngl.Uniform):
    """Takes any value."""

    value: Any = None

    def write(self, data: Any) -> None:
        """Nowhere."""


class _Texture(moderngl.Texture):
    """Takes any setting."""

    filter: Any = None

    def __init__(self) -> None:
        pass

    def __del__(self) -> None:
        pass

    def use(self, location: int = 0) -> None:
        """Nowhere."""
