# SPDX-License-Identifier: Apache-2.0
"""`python -m da3_ros.node --ros-args ...` is the executable `multi_cam`."""

import sys

from da3_ros.node.multi_cam import main

sys.exit(main())
