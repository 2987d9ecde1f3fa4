# SPDX-License-Identifier: Apache-2.0
"""The live node: cameras in, metric depth, clouds and poses out. The only package that speaks to ROS.

Read `multi_cam` (parameters and lifecycle), `session` (what lives while it is configured), `worker` (the threads that
estimate and publish), `listener` (transforms), `latched` (calibrations that were sent once), `watchdog` (what should
come and does not), `viewing` (what shows it, where that was asked for), `compat` (distributions), `memory`; `__main__`
starts it.
"""

from da3_ros.blas import one_thread

one_thread()  # before the node imports NumPy
