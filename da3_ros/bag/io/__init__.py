# SPDX-License-Identifier: Apache-2.0
"""Bags on disk, read and written, whole or damaged.

Read `reader` (every kind of recording), `definitions` (message types), `salvage` (MCAP files that are damaged or have
no index), `writer` (segments, joined into one bag), `qos` (what is written of it), `places` (folders and object
storage).
"""
