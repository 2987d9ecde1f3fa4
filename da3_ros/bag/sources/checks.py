# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a source or lacks in it, whatever its kind: put right where that is no guess, said, or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from da3_ros.bag.sources.pixels import read_pixels
from da3_ros.bag.sources.source import START_NS, Shot, Source, SourceError, Track
from da3_ros.bag.sources.texts import LATEST_NS

UNCALIBRATED = "no calibration: the network guesses the lens"
_UNIT = "where this output says metres, it means that unit; --metres-per-unit N makes metres of it"


def without_doubles(source: Source) -> Source:
    """The source without pictures that are there twice. Of several pictures of one camera that have one stamp the first
    one is taken, and the others are lost.
    """
    taken: dict[tuple[str, int], Shot] = {}
    again, lost = 0, []
    for shot in source.shots:
        first = taken.setdefault((shot.camera, shot.stamp_ns), shot)
        if first.path == shot.path and first is not shot:
            again += 1
        elif first is not shot:
            lost.append(f"{shot.path.name} that of {first.path.name}")
    if not again and not lost:
        return source
    notes = [f"{again} pictures are listed twice, with the same stamp: they are taken once"] if again else []
    problems = [f"{len(lost)} pictures have the stamp of another, as {lost[0]}: they are left out"] if lost else []
    return replace(
        source,
        shots=tuple(taken.values()),
        notes=(*source.notes, *notes),
        problems=(*source.problems, *problems),
    )


def after_zero(source: Source) -> Source:
    """The source with stamps that ROS can say: zero means none there. Where one is zero or less, all are so many whole
    seconds later that the first one is `START_NS` or after it. Raises SourceError where the last one is too late then.
    """
    depth, scans, track = source.depth, source.scans, source.track
    stamps = [shot.stamp_ns for shot in (*source.shots, *(depth.shots if depth is not None else ()))]
    stamps += scans.stamps_ns if scans is not None else ()
    stamps += [int(track.stamps_ns[0])] if track is not None else []
    if min(stamps) > 0:
        return source
    seconds = (START_NS - min(stamps) + 999_999_999) // 1_000_000_000
    later = seconds * 1_000_000_000
    last = max(*stamps, 0 if track is None else int(track.stamps_ns[-1]))
    if last + later >= LATEST_NS:
        raise SourceError(
            f"{source.root}: stamps from {min(stamps) / 1e9:.3f} to {last / 1e9:.3f} s are not of one recording: "
            "pictures, depth, scans and poses must have the times of one clock"
        )

    def moved(shots: tuple[Shot, ...]) -> tuple[Shot, ...]:
        return tuple(replace(shot, stamp_ns=shot.stamp_ns + later) for shot in shots)

    return replace(
        source,
        shots=moved(source.shots),
        depth=None if depth is None else replace(depth, shots=moved(depth.shots)),
        scans=None if scans is None else replace(scans, stamps_ns=tuple(stamp + later for stamp in scans.stamps_ns)),
        track=None if track is None else replace(track, stamps_ns=track.stamps_ns + later),
        notes=(
            *source.notes,
            f"its stamps begin at {min(stamps) / 1e9:g} s, and zero means none: {seconds} s are added",
        ),
    )


def check_sizes(source: Source) -> None:
    """Raises SourceError where a calibration is of another size than the first picture it is for."""
    for camera in source.cameras:
        first = next(iter(source.of(camera.name)), None)
        model = None if first is None else source.model_of(first)
        if first is None or model is None or camera.spare:
            continue
        size = size_of(first)
        if size is not None and size != (model.width, model.height):
            raise SourceError(
                f"the calibration of {camera.name} is of {model.width} x {model.height} pixels, {first.path.name} has "
                f"{size[0]} x {size[1]}: calibrate at that size, or take the pictures that were calibrated"
            )


def size_of(shot: Shot) -> tuple[int, int] | None:
    """Width and height of a picture; None where it cannot be read, which is said when it is used."""
    image = next(iter(read_pixels([shot]))).image
    return None if image is None else (image.shape[1], image.shape[0])


def with_gaps_said(source: Source) -> Source:
    """The source with notes on what it lacks, and with its own parameters only where they are of its unit."""
    notes, problems = list(source.notes), list(source.problems)
    used = [camera for camera in source.cameras if not camera.spare]
    bare = [c.name for c in used if any(source.model_of(shot) is None for shot in source.of(c.name))]
    if bare:
        notes.append(f"{', '.join(bare)}: {UNCALIBRATED}, and depth has no unit; --camera-info gives one")
    if source.depth is not None and source.camera(source.depth.camera).model is None:
        problems.append("its measured depth is not used: that needs a calibration, which --camera-info gives")
        source = replace(source, depth=None)
    loose = [c.name for c in used if c.T_rig_camera is None]
    known = next((c.name for c in source.cameras if c.T_rig_camera is not None), "the others")
    if len(used) > 1 and loose:
        notes.append(
            f"where {', '.join(loose)} sits beside {known} is not known: no metres from the rig (Kalibr's "
            "camchain.yaml tells it)"
        )
    if source.track is not None:
        inside = _covered(source, source.track)
        if not inside:
            problems.append(_elsewhere(source, source.track))
        elif inside < len(source):
            notes.append(
                f"{len(source) - inside} of {len(source)} pictures lie before or after all poses: they have none"
            )
    if source.track is not None and not source.track.is_metric:
        unit = source.track.unit
        notes.append(f"lengths are in {unit}, which is a metre only where somebody made it one: {_UNIT}")
    else:
        source = replace(source, defaults={})
    return replace(source, notes=tuple(dict.fromkeys(notes)), problems=tuple(problems))


def _covered(source: Source, track: Track) -> int:
    stamps = np.array([shot.stamp_ns for shot in source.shots], np.int64)
    return int(((stamps >= track.stamps_ns[0]) & (stamps <= track.stamps_ns[-1])).sum())


def _elsewhere(source: Source, track: Track) -> str:
    poses, pictures = track.stamps_ns[[0, -1]] / 1e9, (source.shots[0].stamp_ns / 1e9, source.shots[-1].stamp_ns / 1e9)
    return (
        f"the poses are from {poses[0]:.3f} to {poses[1]:.3f} s, the pictures from {pictures[0]:.3f} to "
        f"{pictures[1]:.3f} s: not one has a pose; --poses gives others"
    )
