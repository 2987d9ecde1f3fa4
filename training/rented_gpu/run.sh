#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Train da3-nano on a rented machine: Linux x86-64, Python 3.10 or later with PyTorch, no network.
#
#   training/rented_gpu/run.sh stow FOLDER            keep what FOLDER brought, for a later call (twice, if it came twice)
#   training/rented_gpu/run.sh FOLDER --out OUT [--minutes 9] [--plan] [key=value ...]
#
# FOLDER holds, as far as brought: wheels/ (packages that the machine lacks), debs/ (EGL's loader, if it lacks that), packs/
# (da3-train pack-scenes), photos/ and heldout/ (da3-train shards), start/ (weights in pieces). What was stowed counts as
# brought. DA3_STOW names the folder of the stow (default /tmp/da3_stow). The options are those of `da3-train rented`. OUT gets
# eight files of at most 15 MB: write nothing else into it where eight is the most that comes back.
set -euo pipefail
began=$(date +%s.%N)
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
stow="$(realpath -m "${DA3_STOW:-/tmp/da3_stow}")"

keep() { # folder: its parts, linked where that works and copied where not
  mkdir -p "$stow"
  cp -rl "$1/." "$stow/" 2> /dev/null || cp -r "$1/." "$stow/"
}

warn() { echo "run.sh: $*; going on without" >&2; }

has() { PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | grep "$1" > /dev/null; } # not -q: it would end ldconfig, a failure here

if [[ ${1:-} == stow ]]; then
  keep "${2:?the folder that was brought}"
  du -sh "$stow"/*
  exit
fi
keep "${1:?the folder that was brought: see the head of this file}"
shift

python=${PYTHON:-python3}
if compgen -G "$stow/wheels/*.whl" > /dev/null; then
  "$python" -m pip --isolated install --quiet --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
    --upgrade --target "$stow/site" "$stow"/wheels/*.whl || warn "pip cannot install the wheels"
  export PYTHONPATH="$stow/site${PYTHONPATH:+:$PYTHONPATH}"
fi
if compgen -G "$stow/debs/*.deb" > /dev/null && ! has 'libEGL\.so\.1'; then
  into="$stow/gl"
  [[ $(id -u) == 0 ]] && into=/ # where the loader looks by itself
  for deb in "$stow"/debs/*.deb; do dpkg -x "$deb" "$into" || warn "dpkg cannot unpack $deb"; done
  if [[ $into == / ]]; then
    PATH="$PATH:/usr/sbin:/sbin" ldconfig
  else
    export LD_LIBRARY_PATH="$into/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  fi
fi
# moderngl's loader asks for names without a version, which only development packages have.
export GLCONTEXT_LINUX_LIBEGL="${GLCONTEXT_LINUX_LIBEGL:-libEGL.so.1}"
if [[ -z ${GLCONTEXT_LINUX_LIBGL:-} ]]; then
  for name in libOpenGL.so.0 libGL.so.1; do
    if has "${name//./\\.}" || [[ -e $stow/gl/usr/lib/x86_64-linux-gnu/$name ]]; then
      export GLCONTEXT_LINUX_LIBGL=$name
      break
    fi
  done
fi
export PYTHONPATH="$root/training:$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m da3_training rented "$stow" --began "$began" "$@"
