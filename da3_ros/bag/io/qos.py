# SPDX-License-Identifier: Apache-2.0
"""Quality of service as a bag records it, so that `ros2 bag play` offers the same."""

from __future__ import annotations

from rosbags.interfaces import Qos as BagQos
from rosbags.interfaces import QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from da3_ros.stream.outputs import Qos

_NEVER = QosTime(0, 0)
"""Zero is ROS 2's word for a duration that is not set."""
_RELIABILITY = {
    "DEFAULT": QosReliability.RELIABLE,
    "SENSOR_DATA": QosReliability.BEST_EFFORT,
    "SYSTEM_DEFAULT": QosReliability.SYSTEM_DEFAULT,
}


def recorded(qos: Qos) -> BagQos:
    """Profile of a bag for the one of a publisher."""
    return BagQos(
        QosHistory.KEEP_LAST,
        qos.depth,
        _RELIABILITY[qos.profile],
        QosDurability.TRANSIENT_LOCAL if qos.latched else QosDurability.VOLATILE,
        _NEVER,
        _NEVER,
        QosLiveliness.AUTOMATIC,
        _NEVER,
        avoid_ros_namespace_conventions=False,
    )


LATCHED = recorded(Qos(1, latched=True))
"""Late subscribers get the last message: static transforms."""
