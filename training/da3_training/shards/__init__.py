# SPDX-License-Identifier: Apache-2.0
"""Records in tar files that are read from beginning to end: what a cluster's storage is fast at.

By webdataset: its shards are plain tar files that any tool reads, and it brings no cloud libraries along.

Read `writer` (scenes into shards), `codec` (a view as bytes), `index` (where every sample is), `stream` (batches out
of them), `local` (samples in any order, from a disk).
"""
