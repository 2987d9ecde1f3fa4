# SPDX-License-Identifier: Apache-2.0
"""Recordings of Rerun's, read back by its own SDK."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

NAMED = "rerun.chunk"
"""The module that reads them, of newer SDKs."""


class Rrd:
    """What a file has: components by entity and time."""

    def __init__(self, path):
        chunk = pytest.importorskip(NAMED, reason="no rerun-sdk that reads its files: `make env EXTRAS=interop`")
        reader = chunk.RrdReader(path)
        self.blueprints = len(reader.blueprints())
        self._batches = [(each.entity_path, each.to_record_batch()) for each in reader.stream()]

    @property
    def entities(self):
        """Those with data, sorted."""
        return sorted({path for path, _ in self._batches if not path.startswith("/__")})

    def rows(self, entity, component):
        """(stamp in ns, or None for all times; value) of every log of ``Archetype:field``, in order."""
        found = []
        for path, batch in self._batches:
            if path != f"/{entity}" or component not in batch.schema.names:
                continue
            stamps = batch.column("stamp").cast("int64").to_pylist() if "stamp" in batch.schema.names else None
            values = batch.column(component).to_pylist()
            found += [(stamps[i] if stamps else None, value) for i, value in enumerate(values) if value is not None]
        return sorted(found, key=lambda row: row[0] or 0)

    def values(self, entity, component):
        """Values of `rows`, as arrays."""
        return [np.array(value) for _, value in self.rows(entity, component)]

    def picture(self, entity):
        """RGB (H, W, 3) of the last picture of an entity."""
        blob = self.rows(entity, "EncodedImage:blob")[-1][1][0]
        return cv2.cvtColor(cv2.imdecode(np.array(blob, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def depth(self, entity):
        """Depth (H, W) of the last depth image of an entity, and metres in its unit (None: not said)."""
        (buffer,) = self.rows(entity, "DepthImage:buffer")[-1][1]
        (form,) = self.rows(entity, "DepthImage:format")[-1][1]
        meters = self.rows(entity, "DepthImage:meter")
        depth = np.frombuffer(bytes(buffer), np.float32).reshape(form["height"], form["width"])
        return depth, meters[-1][1][0] if meters else None
