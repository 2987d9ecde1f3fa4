# SPDX-License-Identifier: Apache-2.0
"""Training objectives, one term a file."""
