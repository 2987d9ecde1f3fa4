# SPDX-License-Identifier: Apache-2.0
"""Where things stand on the screen, until somebody moves them: Rerun's blueprint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from da3_ros.viewer.archetypes import LOG, SCALE, TIMING, WORLD, input_plane, plane
from da3_ros.viewer.roles import Role

ROWS = 4
"""More cameras than this get a tab each."""


@dataclass(frozen=True)
class Shown:
    """What there is of a camera."""

    name: str
    pictures: str = ""
    """Entity of its pictures; empty: there are none."""
    depth: bool = False
    further: tuple[str, ...] = ()
    """``stddev``, ``confidence``."""


def cameras_of(roles: Iterable[Role]) -> list[Shown]:
    """The cameras of topics, in their order."""
    found: dict[str, Shown] = {}
    for role in roles:
        if role.what not in ("picture", "depth", "stddev", "confidence"):
            continue
        known = found.get(role.name, Shown(role.name))
        if role.what == "picture":
            known = replace(known, pictures=f"{input_plane(role.name)}/rgb")
        elif role.what == "depth":
            known = replace(known, depth=True)
        else:
            known = replace(known, further=(*known.further, role.what))
        found[role.name] = known
    return list(found.values())


def layout(rr: Any, cameras: list[Shown], *, clouds: bool) -> Any:
    """The scene, beside it pictures and depth of each camera, below it plots of scale and times, and what was said.

    clouds: there are clouds to see; else depth is what is seen of the scene.
    """
    rrb = rr.blueprint
    hidden = {
        f"{plane(camera.name)}/depth": rrb.EntityBehavior(visible=False)
        for camera in cameras
        if camera.depth and clouds  # the same once more, in other colours
    }
    flat = [f"- /{WORLD}/{camera.name}/{what}" for camera in cameras for what in camera.further]
    scene = rrb.Spatial3DView(origin=WORLD, contents=[f"+ /{WORLD}/**", *flat], name="scene", overrides=hidden)
    plots = rrb.Horizontal(
        rrb.TimeSeriesView(origin=SCALE, name="scale"),
        rrb.TimeSeriesView(origin=TIMING, name="milliseconds"),
        rrb.TextLogView(origin=LOG, name="what was said"),
    )
    left = rrb.Vertical(scene, plots, row_shares=[3, 1])
    rows = [row for camera in cameras if (row := _row(rrb, camera)) is not None]
    panels = {"collapse_panels": True}
    if not rows:
        return rrb.Blueprint(left, **panels)
    right = rrb.Vertical(*rows) if len(rows) <= ROWS else rrb.Tabs(*rows)
    return rrb.Blueprint(rrb.Horizontal(left, right, column_shares=[3, 2]), **panels)


def _row(rrb: Any, camera: Shown) -> Any:
    views = []
    if camera.pictures:
        views.append(rrb.Spatial2DView(origin=camera.pictures, name=camera.name))
    tabs = []
    if camera.depth:
        tabs.append(rrb.Spatial2DView(origin=f"{plane(camera.name)}/depth", name=f"{camera.name} depth"))
    tabs += [rrb.Spatial2DView(origin=f"{WORLD}/{camera.name}/{what}", name=what) for what in camera.further]
    if tabs:
        views.append(tabs[0] if len(tabs) == 1 else rrb.Tabs(*tabs, active_tab=0))
    return rrb.Horizontal(*views, name=camera.name) if views else None
