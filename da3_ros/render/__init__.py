# SPDX-License-Identifier: Apache-2.0
"""Images of 3D Gaussians: what a camera would see of them; no ROS, no network.

Read `config` (what is asked for, and what comes out), `project` (Gaussians to ellipses in an image), `rasterise`
(ellipses to pixels, tile by tile), `renderers` (one face for the CPU and for `on_gsplat`, a CUDA GPU), then
`trajectories` (where the camera goes).
"""
