# SPDX-License-Identifier: Apache-2.0
"""From frame sets to published geometry, without rclpy: the live node and the bag tool both are made of it.

Read `pipeline` (a set from messages to outputs), `work` (what it carries), `window` (past sets beside it),
`calibrations` (whose CameraInfo is whose), `transforms` (with `disputes`: who else publishes one), `placing` (where
views stand), `mounts` (whether they can), `twins` (two cameras, one picture), `reference` (metric points of other
sensors), `presenter` (frames and words), `outputs` (messages), `diagnostics` (health), `partners` (frames that find
none, stamps that go wrong) and `refinements` (what of it tells of refined depth); and what the node is told: `specs`
(the table), `reading` (checks), `names` (what topics tell), `viewing` (whether and where it is shown), `parameters`
(the result).
"""
