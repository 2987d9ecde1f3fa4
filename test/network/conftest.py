# SPDX-License-Identifier: Apache-2.0
from ..micro import micro, micros  # noqa: F401
