# SPDX-License-Identifier: Apache-2.0
"""Where a model of furniture goes, by its name and size, and whether it carries things."""

from __future__ import annotations

import re

from da3_training.scenes.furniture import Model

_CEILING = re.compile(r"pendant|hanging light|chandelier|ceiling|fluorescent|track lights|lantern", re.I)
_OUTDOOR = re.compile(
    r"tree|pine|acacia|beech|cypress|poplar|palm|maple|peach blossom|hedge|bush|street l|lamppost|park|fountain"
    r"|hydrant|fence|railing|mailbox|truck|^van$|suv|sedan|bus|smart|chevrolet|ford focus|beetle|peugeot|renault"
    r"|seat leon|tent|swing|seesaw|sandpit|rock$|garden|fork lift|shipping|rowboat|biplane|chimney|porch"
    r"|sidewalk|bench|column|mower|trampoline",
    re.I,
)
SUPPORT = re.compile(
    r"table|desk|island|cabinet|counter|drawer|shelv|bookcase|stand|bench|workbench|dresser|vanity|bedside",
    re.I,
)

PLACED = ("ceiling", "wall", "flat", "small", "outdoor", "floor")
"""Roles of which scenes place models; doors and windows are part of `shell`."""


def role_of(model: Model) -> str:  # noqa: PLR0911 - one return a role
    """Where a model goes: `ceiling`, `wall`, `door`, `flat`, `small`, `outdoor`, or `floor`."""
    w, _, h = model.size
    if model.door_or_window:
        return "door"
    if _CEILING.search(model.name) and model.elevation > 1.2:
        return "ceiling"
    if (
        _OUTDOOR.search(model.name)
        or (model.category in ("Exterior", "Vehicles") and max(model.size) > 1.2)
        or max(model.size) > 4
    ):
        return "outdoor"
    if model.elevation > 0.25 and max(w, h) > 0.05:
        return "wall"
    if h < 0.06 and w > 0.5:
        return "flat"
    if max(model.size) < 0.55:
        return "small"
    return "floor"
