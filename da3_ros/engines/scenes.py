# SPDX-License-Identifier: Apache-2.0
"""Several independent view sets in one call of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.engine import Engine, EngineError, EngineInfo, RawEstimate


class Scene(NamedTuple):
    """Arguments of `Engine.run` for one set."""

    images: NDArray[np.uint8]
    extrinsics: NDArray[np.float32] | None = None
    intrinsics: NDArray[np.float32] | None = None
    known: NDArray[np.bool_] | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Of `Engine.run`; engines that know no mask get none where all cameras are known, or none is."""
        return tuple(self) if self.known is not None else tuple(self[:3])

    @property
    def shape(self) -> tuple[Any, ...]:
        """Sets of equal shape go through an engine together: size of the images, and whether cameras are known, and all
        of them.
        """
        return (*self.images.shape, self.extrinsics is not None, self.known is None)


class ScenesEngine(Protocol):
    """An engine whose graph has a dimension of scenes (``info.scenes``)."""

    def run_scenes(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> list[RawEstimate]:
        """As `Engine.run`, all arguments with a dimension of B scenes before the others."""
        ...


def check_scenes(info: EngineInfo, count: int, views: int) -> None:
    """Raise EngineError, with what to do, for an engine that cannot take `count` sets of `views` images at once."""
    if info.scenes:
        return
    if not info.single_view:
        remedy = f"`da3 export {info.model} --scenes` makes graphs for several, for ONNX Runtime"
        plans = " (TensorRT plans hold one; DA3_ENGINE=onnxruntime does without them)"
        raise EngineError(
            f"the graphs of {info.model} take one view set at a time: {remedy}"
            f"{plans if info.backend.startswith('TensorRT') else ''}; or leave --batch out"
        )
    missing = [n for n in (views, count * views) if info.views and n not in info.views]
    if missing:
        raise EngineError(
            f"plans of {info.model} are for {', '.join(map(str, info.views))} images, {count} sets of {views} need "
            f"{views} and {count * views}: `da3 build {info.model} --views {views} {count * views}`"
        )


def run_scenes(engine: Engine, scenes: Sequence[Scene]) -> list[RawEstimate]:
    """`Engine.run` for several sets of equal shape, in one call. Raises EngineError."""
    shapes = {scene.shape for scene in scenes}
    if len(shapes) != 1:
        raise EngineError(f"sets of different shapes cannot run together: {sorted(shapes)}")
    if len(scenes) == 1:
        return [engine.run(*scenes[0].arguments)]
    images = [scene.images for scene in scenes]
    if engine.info.single_view:  # its graph takes any number of images, each alone
        if engine.info.views and len(scenes) * len(images[0]) not in engine.info.views:
            # The last ones of a segment are fewer than plans are for.
            return [engine.run(*scene.arguments) for scene in scenes]
        return _split(engine.run(np.concatenate(images)), len(scenes))
    given = [i for i in (1, 2, 3) if scenes[0][i] is not None]
    cameras = [np.stack([cast("NDArray[Any]", scene[i]) for scene in scenes]) for i in given]
    return cast("ScenesEngine", engine).run_scenes(np.stack(images), *cameras)


def _split(raw: RawEstimate, count: int) -> list[RawEstimate]:
    """The estimate of `count` equal sets of views, set by set."""
    parts: list[dict[str, Any]] = [{} for _ in range(count)]
    for field in fields(raw):
        values = getattr(raw, field.name)
        for i, part in enumerate(parts):
            each = 0 if values is None else len(values) // count
            part[field.name] = None if values is None else values[i * each : (i + 1) * each]
    return [RawEstimate(**part) for part in parts]
