# SPDX-License-Identifier: Apache-2.0
"""What differs between ROS 2 distributions, from Humble on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from da3_ros.messages import MessageTypes

__all__ = [
    "ExternalShutdownException",
    "describe_publishers",
    "given_parameters",
    "incompatible_qos_callback",
    "incompatible_subscriber_callback",
    "keeps_messages",
    "live_types",
    "qos_profile",
    "transport_warning",
]


_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def live_types() -> MessageTypes:
    """The generated message classes of this ROS 2."""
    return MessageTypes(_load)


def _load(name: str) -> type:
    package, _, kind = name.split("/")
    found: type = getattr(importlib.import_module(f"{package}.msg"), kind)
    return found


def qos_profile(depth: int, profile: str = "DEFAULT", *, latched: bool = False) -> QoSProfile:
    """Profile that keeps the last `depth` messages.

    profile: ``SENSOR_DATA`` (best effort), ``DEFAULT`` (reliable) or ``SYSTEM_DEFAULT`` (what the middleware does), the
    names that Isaac ROS uses. latched: late subscribers get the last messages, too.
    """
    reliability = {
        "SENSOR_DATA": ReliabilityPolicy.BEST_EFFORT,
        "DEFAULT": ReliabilityPolicy.RELIABLE,
        "SYSTEM_DEFAULT": ReliabilityPolicy.SYSTEM_DEFAULT,
    }
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability[profile],
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def given_parameters(node: Any) -> set[str]:
    """Names of the parameters that came with the start (command line, files); rclpy has no public way to
    ask.
    """
    return set(getattr(node, "_parameter_overrides", {}))


def transport_warning(environment: Mapping[str, str], middleware: str) -> str:
    """Why big images may get lost on their way, and what to do; empty if all is well.

    Fast DDS sends through a shared-memory segment of 549 kB unless told otherwise; a best-effort image that
    is bigger arrives seldom or never, without an error anywhere.
    """
    if "fastrtps" not in middleware or any(environment.get(name) for name in _PROFILES):
        return ""
    wanted = "FASTDDS_BUILTIN_TRANSPORTS to LARGE_DATA, as multi_cam.launch.py does, for every process with images"
    if environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "LOCALHOST":
        return (
            "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST makes Fast DDS ignore FASTDDS_BUILTIN_TRANSPORTS, and images "
            "above 0.5 MB get lost: set FASTDDS_DEFAULT_PROFILES_FILE to da3_ros's config/fastdds_localhost.xml for "
            f"every process with images, or unset it and set {wanted}"
        )
    if not environment.get("FASTDDS_BUILTIN_TRANSPORTS", "").startswith("LARGE_DATA"):
        return f"images above 0.5 MB may get lost with Fast DDS's default transports; set {wanted}"
    return ""


def describe_publishers(node: Any, topic: str) -> tuple[list[str], set[str]]:
    """Publishers of a topic by its full name, each as ``node: RELIABLE, VOLATILE``, and the types that they send."""
    endpoints = node.get_publishers_info_by_topic(topic)
    texts = [
        f"{endpoint.node_name}: {endpoint.qos_profile.reliability.name}, {endpoint.qos_profile.durability.name}"
        for endpoint in endpoints
    ]
    return texts, {endpoint.topic_type for endpoint in endpoints}


def keeps_messages(node: Any, topic: str) -> bool:
    """Whether a topic, by the node's name for it, has a publisher that keeps its last messages for others."""
    endpoints = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
    return any(endpoint.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for endpoint in endpoints)


def steady_timer(node: Any, period_s: float, callback: Callable[[], None]) -> Any:
    """A timer of a node that goes on where simulated time stands still, or has not begun."""
    clock = importlib.import_module("rclpy.clock")
    return node.create_timer(period_s, callback, clock=clock.Clock(clock_type=clock.ClockType.STEADY_TIME))


def incompatible_qos_callback(callback: Callable[[Any], None]) -> Any:
    """Subscription events that call `callback(event)` when a publisher's QoS does not fit."""
    return _events().SubscriptionEventCallbacks(incompatible_qos=callback)


def incompatible_subscriber_callback(callback: Callable[[Any], None]) -> Any:
    """Publisher events that call `callback(event)` when a subscriber asks for more than is offered."""
    return _events().PublisherEventCallbacks(incompatible_qos=callback)


def _events() -> Any:
    try:
        return importlib.import_module("rclpy.event_handler")
    except ImportError:  # Humble
        return importlib.import_module("rclpy.qos_event")
