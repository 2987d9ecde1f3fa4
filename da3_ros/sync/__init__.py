# SPDX-License-Identifier: Apache-2.0
"""Frames of several cameras into sets that belong together, without ROS.

Read `frames` (what goes in and comes out), `config` (how they are matched), `buffer` (frames into sets), `strays`
(damaged stamps), `counters` (what became of each), `mailbox` (the newest set to the worker).
"""

from da3_ros.sync.buffer import FrameBuffer
from da3_ros.sync.config import POLICIES, SyncConfig
from da3_ros.sync.counters import CameraCounts, FrameCounters
from da3_ros.sync.frames import Frame, FrameSet
from da3_ros.sync.mailbox import Closed, Mailbox

__all__ = [
    "POLICIES",
    "CameraCounts",
    "Closed",
    "Frame",
    "FrameBuffer",
    "FrameCounters",
    "FrameSet",
    "Mailbox",
    "SyncConfig",
]
