# SPDX-License-Identifier: Apache-2.0
"""What may lie beside an output: a coloured cloud, a COLMAP model, a Rerun recording; and what the report shows.

Read `view` (what a scene is made of), `scene` (which files, from what), `fusion` (views into one cloud),
`rerun_file`, `playback` (a recording, shown in Rerun message by message), `shown` (the 3D view of the report).
"""
