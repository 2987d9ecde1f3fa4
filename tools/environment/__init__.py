# SPDX-License-Identifier: Apache-2.0
"""How `make env` makes the environment; standard library only, for it runs before there is one.

Read `pins` (what is to be installed), `machine` (what is here), `steps` (how it is shown), `folder` (the virtual
environment); `tools/setup_env.py` does one after the other, `tools/plain_env.py` makes one to throw away.
"""
