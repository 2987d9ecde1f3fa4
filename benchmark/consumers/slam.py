# SPDX-License-Identifier: Apache-2.0
"""ORB-SLAM3 on the first camera's images and depth of a sequence, beside the same on true depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from orb_slam3 import OrbSlam3Error, Tracked, track, write_input
from sequence import ALONE, REFINED, TRUE, Estimated, Sequence3D, depth_errors, full_size, grey_images
from sheet import Table
from trajectories import absolute_error, read_tum, still_error, trajectory_of
from vocabulary import orb_descriptors, train_vocabulary, vocabulary_text

KINDS = (TRUE, ALONE, REFINED)
SHORTEST = 0.1
"""Seconds between frames at least: sequences of fewer frames a second are played faster."""
VOCABULARY_STEP = 0.3
"""Seconds between the images that the vocabulary is trained on."""


class Run(NamedTuple):
    """One run of ORB-SLAM3."""

    rmse: float
    """Metres; NaN where there are too few poses to compare, or it failed."""
    tracked: int
    """Frames."""
    milliseconds: float
    """Median of a frame."""


def write_vocabulary(sequences: Sequence[Sequence3D], path: Path) -> Path:
    """A vocabulary of the images of all sequences, the same for every kind of depth; returns `path`."""
    images = []
    for sequence in sequences:
        last = -np.inf
        for frame in sequence.frames:
            if frame.stamp - last >= VOCABULARY_STEP - 1e-6:
                images.append(frame.views[0].image)
                last = frame.stamp
    path.write_text(vocabulary_text(train_vocabulary(orb_descriptors(images))))
    return path


def orb_table(
    estimated: Estimated, vocabulary: Path, binding: Path, scratch: Path, runs: int
) -> tuple[Table, dict[str, float]]:
    """evo's error of ORB-SLAM3's trajectory of each kind of depth: the median of `runs`, since its threads race.

    A run that fails counts as one that has lost its way, and the table says why.
    """
    sequence, figures = estimated.sequence, {}
    truth = trajectory_of(sequence.followed, sequence.stamps)
    table = Table(
        f"ORB-SLAM3, RGB-D, {sequence.title}, {len(sequence.frames)} frames",
        ("", "depth, AbsRel", "with depth", "ATE rmse, m", "of runs", "tracked", "ms a frame"),
        (".3f", ".1%", ".4f", "", ".0f", ".0f"),
        notes=[
            f"median of {runs} runs, and least and most; a camera that never moved: {still_error(truth):.3f} m; "
            f"{path_length(sequence):.2f} m long"
        ],
    )
    for kind in (k for k in KINDS if k in estimated.kinds):
        with_scale = estimated.metric[kind] < 1
        absrel, answered = depth_errors(sequence, estimated.kinds[kind])
        found: list[Run] = []
        for result in _tracks(estimated, kind, vocabulary, binding, scratch, runs):
            if isinstance(result, OrbSlam3Error):
                table.notes.append(f"{kind}: {result}")
                found.append(Run(float("nan"), 0, float("nan")))
            else:
                error = absolute_error(read_tum(result.trajectory), truth, with_scale=with_scale)
                found.append(Run(error.rmse, result.tracked, result.milliseconds))
        error_rmse, spread, tracked, milliseconds = summary(found)
        title = f"{kind}, after a similarity" if with_scale else kind
        table.add(title, np.nan if with_scale else absrel, answered, error_rmse, spread, tracked, milliseconds)
        figures[f"orb_slam3 {sequence.name} {kind} ate"] = error_rmse
        figures[f"orb_slam3 {sequence.name} {kind} tracked"] = tracked / len(sequence.frames)
    for kind in (ALONE, REFINED):
        ours, best = (figures.get(f"orb_slam3 {sequence.name} {k} ate", np.nan) for k in (kind, TRUE))
        figures[f"orb_slam3 {sequence.name} {kind} times_true"] = ours / best
    return table, figures


def summary(found: Sequence[Run]) -> tuple[float, str, float, float]:
    """Median error of the runs that have one, least and most in words, medians of tracked frames and milliseconds.

    NaN as soon as half of the runs have no error: what was lost must not look good.
    """
    errors, tracked, milliseconds = (np.array(column, np.float64) for column in zip(*found, strict=True))
    known = errors[np.isfinite(errors)]
    times = milliseconds[np.isfinite(milliseconds)]
    rest = float(np.median(tracked)), float(np.median(times)) if len(times) else float("nan")
    if 2 * len(known) <= len(errors):
        return float("nan"), f"{len(known)} of {len(errors)} runs", *rest
    return float(np.median(known)), f"{known.min():.4f} to {known.max():.4f}", *rest


def path_length(sequence: Sequence3D) -> float:
    """Metres that the first camera moves."""
    positions = np.array([pose[:3, 3] for pose in sequence.followed])
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum())


def _tracks(
    estimated: Estimated, kind: str, vocabulary: Path, binding: Path, scratch: Path, runs: int
) -> Iterator[Tracked | OrbSlam3Error]:
    sequence = estimated.sequence
    frames, stamps = sequence.frames, sequence.stamps
    camera = frames[0].views[0].straight_camera()
    if camera is None:
        raise ValueError(f"{sequence.name}: the first camera has no calibration")
    write_input(scratch, camera, grey_images(frames), _depths(estimated, kind), stamps)
    pace = max(1.0, float(np.median(np.diff(stamps))) / SHORTEST)
    for _ in range(runs):
        try:
            yield track(scratch, vocabulary, binding, pace)
        except OrbSlam3Error as error:
            yield error


def _depths(estimated: Estimated, kind: str) -> Iterator[NDArray[np.float32]]:
    """At the size of the images, one by one; true depth as it was measured."""
    for frame, views in zip(estimated.sequence.frames, estimated.kinds[kind], strict=True):
        image, truth = frame.views[0].image, frame.truth[0].depth
        if kind == TRUE and truth.shape == image.shape[:2]:
            yield truth
        else:
            yield full_size(views[0], image)
