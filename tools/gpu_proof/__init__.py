# SPDX-License-Identifier: Apache-2.0
"""What `tools/gpu_check.py` does: it proves on a machine with a GPU what was only ever tried on a pretended one.

Read `options` (what is asked), `checks` (what a part says of each of its checks), `course` (parts in processes of their
own, with limits of time). Then the parts: `machine` (what this ran on); `driver`, the driver layer, with `probe` (calls
that it lacks), `stand_in` (in TensorRT's place) and `programs` (recorded work, again and again); `network`, the network
in PyTorch, with `bench` (one network on two devices), `numerics` (weights, images, errors, tolerances) and `rounding`
(where the tolerances come from); `compiled` (the same by torch.compile); `libraries` (our engine on what else is
installed), `sweep` (the refinement's plane sweep on the same). At last `figures` (what others say) and `report` (files
and tables).

On a bare machine only torch and NumPy are there, so nothing else is imported before it is needed.
"""
