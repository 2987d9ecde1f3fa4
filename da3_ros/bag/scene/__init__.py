# SPDX-License-Identifier: Apache-2.0
"""What may lie beside an output: a coloured cloud, a COLMAP model, a Rerun recording.

Read `view` (what a scene is made of), `scene` (which files, from what), `fusion` (views into one cloud),
`rerun_file`.
"""
