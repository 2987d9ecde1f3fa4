# SPDX-License-Identifier: Apache-2.0
from ..micro import micro  # noqa: F401
