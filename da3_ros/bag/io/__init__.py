# SPDX-License-Identifier: Apache-2.0
"""Bags on disk, read and written, whole or damaged.

Read `reader` (every kind of recording) and, below it, `folders` (which files), `gather` (what they are together),
`containers` (what a file is), `findings` (what is said), `channels` (topics of a file). One kind of file each:
`mcap_file` with `mcap_records` and `mcap_summary` (when an index is to be relied on), `sqlite_file`, `ros1_file`;
`source_part` has the messages of what is no bag; `blocks` and `merge` put messages in order. `definitions` and
`definition_text` are message types. `writer` makes segments, joined into one bag, `qos` is what is written of it,
`places` are folders and object storage.
"""
