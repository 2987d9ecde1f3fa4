# SPDX-License-Identifier: Apache-2.0
"""The 3D view as a part of a page: data, the program that draws it and three.js, all within the page."""

from __future__ import annotations

import base64
import json
from functools import cache
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np

from da3_ros.bag.report.scene3d import Scene3D

_HERE = Path(__file__).parent
PARTS = ("viewer.html", "viewer.js", "three.bundle.js")
"""Files that a page with a 3D view holds."""
_STOPS = 24


def scene_html(scene: Scene3D) -> str:
    """HTML of the view, to stand in a section of a page once; without JavaScript or WebGL it says so in words."""
    data = {
        "about": scene.about,
        "positions": _base64(scene.positions.astype("<u2").tobytes()),
        "shades": _base64(scene.shades.tobytes()),
        "palette": palette(),
        "pictures": [_base64(jpeg) for jpeg in scene.pictures],
    }
    # Nothing in a name of a camera may end the element that holds it.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    html, viewer, three = (_part(name) for name in PARTS)
    note = escape(str(scene.about["note"]))
    return Template(html).substitute(note=note, data=text, three=three, viewer=viewer)


@cache
def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def palette() -> list[list[float]]:
    """Colours of a scale from its low end to its high one, RGB from 0 to 1: those of the depth pictures."""
    levels = np.linspace(0, 255, _STOPS).round().astype(np.uint8)[None]
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[0, :, ::-1]
    return [[round(int(value) / 255, 3) for value in colour] for colour in colours]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
