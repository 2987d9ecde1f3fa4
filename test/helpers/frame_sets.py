# SPDX-License-Identifier: Apache-2.0
"""A frame buffer that is fed and tells its sets in milliseconds."""

from da3_ros.sync import FrameBuffer, SyncConfig

MS = 1_000_000


def make(cameras="ab", **changes):
    changes = {name: value * MS if name.endswith("_ns") else value for name, value in changes.items()}
    return FrameBuffer(list(cameras), SyncConfig(**changes))


def skew(found):
    """Nanoseconds between the first and the last frame of a set."""
    stamps = [frame.stamp_ns for frame in found.frames]
    return max(stamps) - min(stamps)


def feed(buffer, *frames):
    """Push (camera, milliseconds) pairs; returns the sets as {camera: milliseconds}."""
    sets = []
    for camera, stamp in frames:
        found = buffer.push(camera, stamp * MS, f"{camera}{stamp}")
        if found:
            assert all(f.payload == f"{f.camera}{f.stamp_ns // MS}" for f in found.frames)
            sets.append({f.camera: f.stamp_ns // MS for f in found.frames})
    return sets
