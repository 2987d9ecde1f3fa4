# SPDX-License-Identifier: Apache-2.0
"""Environment of every process on `.venv`'s Python; setup_env.py installs it with a .pth that imports it.

ROS 2 from wheels sets nothing up by itself: without AMENT_PREFIX_PATH no message type support and no package
share directory is found. Values that the caller has set stay as they are.
"""

import os
import sys

# Fast DDS's default shared-memory segment (549 kB) is smaller than a camera image: most images are then lost
# without a word. LARGE_DATA moves data to TCP and bigger segments; discovery stays on UDP multicast.
FASTDDS_LARGE_DATA = "LARGE_DATA?max_msg_size=4MB&sockets_size=16MB&non_blocking=true"


def apply() -> None:
    """Put the venv on AMENT_PREFIX_PATH and choose transports; nothing where ROS is installed."""
    if not os.path.isdir(os.path.join(sys.prefix, "share", "ament_index")):
        return
    prefixes = [part for part in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if part]
    if sys.prefix not in prefixes:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([sys.prefix, *prefixes])
    os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", FASTDDS_LARGE_DATA)


apply()
