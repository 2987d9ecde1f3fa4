# SPDX-License-Identifier: Apache-2.0
"""What engines have in common that run a model's graph files as they are, without a plan of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.engine import EngineError, EngineInfo, RawEstimate, camera_inputs, check_inputs
from da3_ros.engines.files import (
    GAUSSIANS,
    KINDS,
    MASK,
    POSED,
    RAYS,
    cpu_graph_name,
    graph_name,
    scenes_graph_name,
)
from da3_ros.engines.graph_file import input_names


class Graph(Protocol):
    """A loaded graph."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name, which belong to the caller. May raise anything."""
        ...


class GraphEngine(ABC):
    """Runs the graphs of a model's folder; each is opened at the first call that needs it."""

    info: EngineInfo
    runtime: str
    """Name of the library, for messages."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._graphs: dict[str, Graph] = {}

    @abstractmethod
    def _open(self, name: str, fused: str) -> Graph:
        """Load a graph of the folder by its file name; fused: name of its form with ONNX Runtime's own operators, which
        need not exist. Raises EngineError.
        """

    def _describe(self, backend: str, plain: Graph, metadata: Mapping[str, str], sha256: str) -> EngineInfo:
        """What runs where; plain: the graph without cameras, metadata and sha256: of its file."""
        return EngineInfo(
            model=metadata.get("da3.model", self._folder.name),
            backend=backend,
            takes_poses=(self._folder / POSED).is_file(),
            mixes=MASK in input_names(self._folder / POSED),
            patch=int(metadata.get("da3.patch", 14)),
            single_view="extrinsics" not in plain.outputs,
            rays=set(RAYS) <= set(plain.outputs),
            scenes=(self._folder / scenes_graph_name(KINDS[0])).is_file(),
            gaussians=GAUSSIANS in plain.outputs,
            sha256=sha256,
        )

    def run(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> RawEstimate:
        """See `Engine.run`."""
        kind = check_inputs(self.info, images, extrinsics, intrinsics, known)
        cameras = (extrinsics, intrinsics, known) if kind == KINDS[1] else (None, None, None)
        return RawEstimate.from_outputs(self._outputs(graph_name(kind), cpu_graph_name(kind), images, *cameras))

    def run_scenes(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> list[RawEstimate]:
        """See `ScenesEngine.run_scenes`."""
        first = [None if values is None else values[0] for values in (extrinsics, intrinsics, known)]
        kind = check_inputs(self.info, images[0], *first)
        cameras = (extrinsics, intrinsics, known) if kind == KINDS[1] else (None, None, None)
        outputs = self._outputs(scenes_graph_name(kind), scenes_graph_name(kind, cpu=True), images, *cameras)
        return [
            RawEstimate.from_outputs({name: values[i] for name, values in outputs.items()}) for i in range(len(images))
        ]

    def _outputs(
        self,
        name: str,
        fused: str,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None,
        intrinsics: NDArray[np.float32] | None,
        known: NDArray[np.bool_] | None,
    ) -> dict[str, NDArray[np.float32]]:
        """What graph `name` makes of its inputs."""
        if name not in self._graphs:
            self._graphs[name] = self._open(name, fused)
        graph = self._graphs[name]
        cameras = camera_inputs(extrinsics, intrinsics, known, MASK in graph.inputs)
        try:
            return graph({"images": np.ascontiguousarray(images), **cameras})
        except Exception as error:  # the runtimes raise many types without a common base
            count = " x ".join(map(str, images.shape[:-3]))
            raise EngineError(f"{self.runtime} failed on {count} views: {error}") from error
