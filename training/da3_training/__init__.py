# SPDX-License-Identifier: Apache-2.0
"""The training companion of `da3_ros`: from recordings, public sets or rooms of its own to weights.

Read `config` (what a run is told), `data` (views, from files to batches), `datasets` (public sets), `bags` (recordings
of a robot), `scenes` (rendered rooms), `shards` (records for a cluster), `studio` (rooms rendered while a network
trains), `labels` (a teacher's depth), `losses` (what is asked of a network), `run` (the loop), `evaluate` (scores),
`score_table` (of several checkpoints, side by side), `rented` (a machine with a GPU for a few minutes), `cli` (the
commands).
"""
