# SPDX-License-Identifier: Apache-2.0
"""Long windows: every set is seen together with the sets before and after it.

A first pass over the recording estimates overlapping chunks and keeps them; they are aligned into one trajectory and
one scale; the usual pass then publishes each set from its chunk, by way of an estimator that looks it up.
"""

from __future__ import annotations

from pathlib import Path

from da3_ros.bag.errors import BagError
from da3_ros.bag.line.look_up import LookUp
from da3_ros.bag.motion.chunks import read_chunk
from da3_ros.bag.motion.loops import find_loops, key_view, read_key_frame, wide_edges
from da3_ros.bag.motion.trajectory import sequence, solve
from da3_ros.bag.plan.options import Options
from da3_ros.bag.run.first_pass import chunk_files, features_file
from da3_ros.estimation import EstimatorConfig


def check_options(options: Options, window: int) -> None:
    """Raises BagError for chunks that cannot be. window: value of `sync.window`."""
    sets, overlap = options.chunk, options.overlap
    if not sets:
        return
    if not 1 <= overlap < sets:
        raise BagError(f"chunks of {sets} sets that overlap by {overlap}: the overlap must be from 1 to {sets - 1}")
    if options.window_ahead:
        raise BagError(f"a chunk holds later sets already: leave --window-ahead out ({options.window_ahead})")
    if window:
        raise BagError(f"chunks take the place of sync.window, which is {window}: set it to 0")


def align_chunks(folder: Path, description: dict[str, str], config: EstimatorConfig, *, loops: bool) -> LookUp:
    """What stands for the estimator in the second pass, from the chunks that the first one left in `folder`.

    description: of the estimator that made them; config: how depth is cut where the scale is known; loops: whether
    places that are seen again are sought.
    """
    files = chunk_files(folder)
    chunks = [read_chunk(path) for path in files]
    matches = config.pose.matches
    frames = [read_key_frame(features_file(path), key_view(chunk)) for path, chunk in zip(files, chunks, strict=True)]
    found = find_loops(chunks, frames, matches) if loops else []
    trajectory = solve(chunks, sequence(chunks), wide_edges(chunks, frames, matches), found)
    return LookUp(description, files, chunks, trajectory, config)
