# SPDX-License-Identifier: Apache-2.0
"""Records in tar files that are read from beginning to end: what a cluster's storage is fast at.

By webdataset: its shards are plain tar files that any tool reads, and it brings no cloud libraries along.

Read `writer` (scenes into shards), `codec` (a view as bytes), `index` (where every sample is), `stream` (batches out
of them).
"""

from da3_training.shards.index import ShardSet
from da3_training.shards.stream import StreamSampler
from da3_training.shards.writer import ShardOptions, write_shards

__all__ = ["ShardOptions", "ShardSet", "StreamSampler", "write_shards"]
