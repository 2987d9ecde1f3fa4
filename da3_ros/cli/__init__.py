# SPDX-License-Identifier: Apache-2.0
"""The ``da3`` command, one verb a file."""
