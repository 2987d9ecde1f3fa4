#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes da3_ros/bag/report/three.bundle.js, which is committed: three.js with what three_entry.js names, minified, its
# licence in front. To be run again, with npm and a network, only for another version or after a change of the entry.
set -euo pipefail
THREE=0.187.0 ESBUILD=0.28.2
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
target="$here/../../da3_ros/bag/report/three.bundle.js"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp "$here/three_entry.js" "$work/"
cd "$work"
npm install --silent --no-save --prefix "$work" "three@$THREE" "esbuild@$ESBUILD"
banner="/*! three.js $THREE (SPDX-License-Identifier: MIT), bundled with esbuild $ESBUILD by tools/viewer/bundle.sh

$(cat node_modules/three/LICENSE)
*/"
node_modules/.bin/esbuild three_entry.js --bundle --minify --format=iife --global-name=THREE --target=es2020 \
  --legal-comments=none --banner:js="$banner" --outfile=bundle.js
mv bundle.js "$target"
