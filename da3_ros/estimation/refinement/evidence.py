# SPDX-License-Identifier: Apache-2.0
"""Evidence: metric depth of some pixels of a view, how sure it is, and who says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SOURCES = ("views", "measured", "matches")
"""Multi-view stereo; another sensor; triangulated corners. An index into it tells where a piece comes from."""


@dataclass(frozen=True)
class Evidence:
    """Pieces of one view, on the pixels of its depth map (h, w)."""

    rows: NDArray[np.intp]
    """(N,)."""
    columns: NDArray[np.intp]
    """(N,)."""
    log_depth: NDArray[np.float32]
    """(N,), logarithm of metres along the optical axis."""
    sigma: NDArray[np.float32]
    """(N,), standard deviation of `log_depth`: of this piece alone."""
    source: NDArray[np.uint8]
    """(N,), index into SOURCES."""
    common: float = 0.0
    """Standard deviation of an error of log depth that all pieces share, as that of a calibration."""

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def none(cls) -> Evidence:
        """Of a view that nothing is known of."""
        whole, real = np.zeros(0, np.intp), np.zeros(0, np.float32)
        return cls(whole, whole, real, real, np.zeros(0, np.uint8))

    @classmethod
    def of(
        cls,
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
        log_depth: NDArray[np.floating],
        sigma: NDArray[np.floating],
        source: str,
        common: float = 0.0,
    ) -> Evidence:
        """Pieces (N,) of one source. Raises ValueError for a source that is not in SOURCES."""
        if source not in SOURCES:
            raise ValueError(f"evidence source {source!r} is unknown; allowed: {', '.join(SOURCES)}")
        tag = np.full(len(rows), SOURCES.index(source), np.uint8)
        return cls(rows, columns, log_depth.astype(np.float32), sigma.astype(np.float32), tag, common)

    @classmethod
    def joined(cls, parts: Sequence[Evidence]) -> Evidence:
        """All pieces of several."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.none()
        # What the sources share among their own pieces is not shared between sources: the least of it is left.
        common = min(part.common for part in parts)
        return cls(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.columns for part in parts]),
            np.concatenate([part.log_depth for part in parts]),
            np.concatenate([part.sigma for part in parts]),
            np.concatenate([part.source for part in parts]),
            common,
        )

    def part(self, chosen: NDArray[np.bool_]) -> Evidence:
        """The pieces (N,) that are chosen."""
        return Evidence(
            self.rows[chosen],
            self.columns[chosen],
            self.log_depth[chosen],
            self.sigma[chosen],
            self.source[chosen],
            self.common,
        )

    def is_of(self, source: str) -> NDArray[np.bool_]:
        """(N,) of the pieces of one source."""
        return self.source == SOURCES.index(source)

    def less(self, error: float) -> Evidence:
        """The same without an error of log depth that all pieces share."""
        return replace(self, log_depth=self.log_depth - np.float32(error))

    def thinned(self, by: int) -> Evidence:
        """The same on the pixels of a depth map that is smaller by a whole factor."""
        return replace(self, rows=self.rows // by, columns=self.columns // by)

    def counts(self) -> dict[str, int]:
        """Pieces by source."""
        found = np.bincount(self.source, minlength=len(SOURCES))
        return {name: int(count) for name, count in zip(SOURCES, found, strict=True) if count}
