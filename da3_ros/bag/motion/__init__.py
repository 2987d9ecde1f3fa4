# SPDX-License-Identifier: Apache-2.0
"""Where the cameras of a recording were, from the network's estimates of many chunks.

Read `chunks` (sets seen together, and their poses), `refined` (their depth, by each other), `similarity` (one chunk
laid upon another), `loops` (places seen again), `trajectory` (all chunks brought together).
"""
