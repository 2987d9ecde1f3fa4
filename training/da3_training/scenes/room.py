# SPDX-License-Identifier: Apache-2.0
"""Whole scenes: rooms, kitchens, corridors, garages, warehouses, table tops and open places, with lights and things in
them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from da3_training.scenes.arrays import Floats, Pixels
from da3_training.scenes.assets import Library
from da3_training.scenes.built_in import build_in
from da3_training.scenes.furnishing import furnish, heavy_things, open_place, racks
from da3_training.scenes.lighting import Lighting
from da3_training.scenes.mesh import SKY, Builder, Look, Mesh
from da3_training.scenes.noise import N, blend, draw_grids
from da3_training.scenes.placement import Placer
from da3_training.scenes.shell import Shell, inner_walls, lamps_of
from da3_training.scenes.tabletop import table_top
from da3_training.scenes.textures import TextureBank


@dataclass(frozen=True)
class Kind:
    """A kind of scene. share: how often it is drawn where nobody says; smallest, largest: sizes [3] in metres that it
    is drawn between; furniture: pieces for each square metre, about.
    """

    share: float
    smallest: tuple[float, float, float]
    largest: tuple[float, float, float]
    furniture: float = 0.0


KINDS = {
    "room": Kind(0.60, (2.5, 2.5, 2.2), (8, 7, 3.4), 0.9),
    "corridor": Kind(0.05, (1.4, 6, 2.2), (2.6, 14, 3.2), 0.35),
    "warehouse": Kind(0.05, (8, 8, 3.5), (16, 14, 6), 0.12),
    "garage": Kind(0.05, (4, 5, 2.3), (8, 8, 3.2), 0.4),
    "tabletop": Kind(0.15, (3, 3, 2.3), (6, 6, 3.2), 0.5),
    "open": Kind(0.10, (10, 10, 5), (22, 22, 6)),
    "fitted": Kind(0.0, (2.2, 2.4, 2.3), (6.5, 6, 3.2), 0.45),
}
"""``fitted``: rooms with furniture built along their walls; it is asked for by name, so that the scenes of a seed stay
what they were."""


@dataclass(frozen=True)
class Scene:
    """A scene ready to render; metres, z up.

    `solids` (S, 2, 3): boxes no camera may be in; `focus` (F, 3): points worth looking at.
    """

    kind: str
    mesh: Mesh
    lighting: Lighting
    lo: Floats
    hi: Floats
    solids: Floats
    focus: Floats
    table: Floats | None
    names: list[str]
    own_textures: dict[str, Pixels]


def light_colour(rng: np.random.Generator) -> Floats:
    """Linear RGB of a lamp between warm and cold white, rarely coloured."""
    t = rng.random()
    colour = (1 - t) * np.array([1.0, 0.72, 0.45]) + t * np.array([0.82, 0.92, 1.1])
    return colour * rng.uniform(0.4, 1.0, 3) if rng.random() < 0.08 else colour


def draw_sky(rng: np.random.Generator) -> Callable[[], Pixels]:
    """A sky with clouds over a hazy skyline, drawn, and what paints it: RGBA uint8, row 0 is the top.

    A scene without windows does not paint it.
    """
    zenith, haze = rng.uniform(0.2, 0.7, 3) * [0.7, 0.9, 1.3], rng.uniform(0.6, 1.0, 3)
    clouds, clear, white = draw_grids(rng, 4, 3, 6), rng.uniform(0.4, 0.65), rng.uniform(0.6, 1)
    horizon = int(N * rng.uniform(0.55, 0.66))
    ground, bumps = rng.uniform(0.1, 0.5, 3), draw_grids(rng, 8, 8, 5)
    houses, x = [], 0
    while x < N:
        w, h = int(rng.integers(8, 60)), int(rng.integers(2, 70))
        houses.append((x, w, h, rng.uniform(0.15, 0.6, 3)))
        x += w

    def paint() -> Pixels:
        image = np.empty((N, N, 3), np.float64)
        v = np.linspace(1, 0, N, dtype=np.float32)[:horizon, None, None]
        cloud = np.clip(3 * (blend(clouds, 0, horizon) - clear), 0, 1)[..., None]
        air = haze + (zenith - haze) * np.clip(1.6 * v - 0.5, 0, 1)
        np.multiply(air, 1 - 0.8 * cloud, out=image[:horizon])
        image[:horizon] += 0.8 * cloud * white
        np.multiply(ground, 0.6 + 0.8 * blend(bumps, horizon, N)[..., None], out=image[horizon:])
        for x, w, h, shade in houses:
            image[max(horizon - h, 0) : horizon, x : x + w] = shade
        rgba = np.full((N, N, 4), 255, np.uint8)
        np.clip(image, 0, 1, out=image)
        image *= 255
        rgba[..., :3] = image
        return rgba

    return paint


def draw_lighting(
    rng: np.random.Generator, positions: list[Floats], size: Floats, sun: bool, ambient: float
) -> Lighting:
    """Lights of a place of `size` [3] metres from its corner: lamps at `positions`, others until there are two, a sun
    or none, and light from everywhere of about `ambient`.
    """
    reach = 0.5 * float(np.linalg.norm(size[:2])) + float(size[2])
    positions = list(positions)
    while len(positions) < 2 or (len(positions) < 4 and rng.random() < 0.5):
        positions.append(rng.uniform([0.1, 0.1, 0.35], [0.9, 0.9, 0.95]) * size)
    power = np.array([1.0] + [rng.uniform(0.05, 0.6) for _ in positions[1:]]) * reach**2 * 0.16
    colours = np.array([light_colour(rng) for _ in positions]) * power[:, None]
    if rng.random() < 0.15:
        colours[0] *= 0.1
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 1.1)
    direction = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
    level = ambient * rng.uniform(0.5, 1.6)
    return Lighting(
        np.array(positions, np.float32),
        colours.astype(np.float32),
        direction,
        light_colour(rng) * rng.uniform(0.8, 3.0) if sun else np.zeros(3),
        level * light_colour(rng),
        level * rng.uniform(0.3, 0.9) * light_colour(rng),
        float(rng.uniform(0.3, 0.7)),
        float(rng.uniform(0, 1)),
    )


def draw_kind(rng: np.random.Generator) -> str:
    """One of KINDS, by its share."""
    shares = np.array([kind.share for kind in KINDS.values()])
    return str(rng.choice(list(KINDS), p=shares / shares.sum()))


def make_scene(library: Library, bank: TextureBank, rng: np.random.Generator, kind: str | None = None) -> Scene:
    """Draw a scene. `kind`: one of KINDS, or None to draw it too."""
    if kind is None:
        kind = draw_kind(rng)
    if kind not in KINDS:
        raise ValueError(
            f"scene kind {kind!r} is not one of {sorted(KINDS)}; pass one of them, or None for a random one"
        )
    size = rng.uniform(KINDS[kind].smallest, KINDS[kind].largest)
    builder = Builder()
    place = Placer(builder, library, bank, rng, np.zeros(3), size.copy())
    paint_sky, own = draw_sky(rng), dict[str, Pixels]()
    table = None
    windows = 0 if kind in ("warehouse", "open") else int(rng.choice([0, 1, 1, 2]))
    sun = kind == "open" or (windows > 0 and rng.random() < 0.5)
    if kind == "open":
        lamps = [np.array([size[0] / 2, size[1] / 2, 5.0])]
        e = 40.0
        builder.quad(
            [-e, -e, 0],
            [size[0] + 2 * e, 0, 0],
            [0, size[1] + 2 * e, 0],
            place.look("floor", "wall", repeat=(0.8, 3)),
        )
        open_place(place, size)
        lighting = draw_lighting(rng, lamps, size, True, rng.uniform(0.4, 1.2))
    else:
        shell = Shell(place, size, windows=windows, fitted=kind not in ("warehouse", "garage"))
        if kind == "tabletop":
            table = table_top(place, size)
        if kind == "fitted":
            build_in(place, shell, size)
        if kind in ("room", "warehouse") and rng.random() < 0.3:
            inner_walls(place, size)
        lamps = lamps_of(place, size)
        if kind == "warehouse":
            racks(place, size)
        if kind in ("warehouse", "garage"):
            heavy_things(place)
        furnish(place, shell, size, KINDS[kind].furniture)
        lighting = draw_lighting(rng, lamps, size, sun, rng.uniform(0.15, 0.6))
    if windows or kind == "open":
        builder.sky(Look((1, 1, 1), "sky", SKY))
        own["sky"] = paint_sky()
    focus = np.array(place.focus, np.float32).reshape(-1, 3)
    if len(focus) == 0:
        focus = (size / 2)[None].astype(np.float32)
    solids = np.array(place.solids, np.float32).reshape(-1, 2, 3)
    return Scene(kind, builder.build(), lighting, np.zeros(3), size, solids, focus, table, sorted(place.names), own)
