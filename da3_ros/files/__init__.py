# SPDX-License-Identifier: Apache-2.0
"""Results as files, and images from them; no ROS, no network.

Read `images` (photographs in) with `kinds` (which files are photographs), `exif` (which way up they are) and `upright`
(turned for the network, and back), `names` (of results), `scenes` (clouds and cameras out: PLY, GLB, COLMAP),
`gaussians` (Gaussians out, as renderers read them, and in), `frames` (drawn ones out, as a video or PNG).
"""
