# SPDX-License-Identifier: Apache-2.0
import os
import tempfile

# What `da3 build` found on this machine decides which engine runs a model: tests start from nothing.
_PLANS = tempfile.TemporaryDirectory(prefix="da3_plans_")
os.environ["DA3_PLANS"] = _PLANS.name
