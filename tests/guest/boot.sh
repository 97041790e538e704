#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A real guest comes back from the repository and boots: a Debian machine, base and overlay, is backed
# up, drilled, and asked in QEMU whether its files are whole. Not part of the suite: it installs Debian
# from the network. Root; some minutes; about 2 GB below TMPDIR, or /var/tmp.
# usage: BYRE=build/release/src/cli/byre tests/guest/boot.sh [DIR]
#   DIR  where scripts/make-guest.sh has put the guest before, or is to put it (default: a fresh one)
set -euo pipefail
export LC_ALL=C
: "${BYRE:?set BYRE to the path of the program under test}"
BYRE=$(realpath "$BYRE")
scripts=$(realpath "$(dirname "$0")/../../scripts")
work=$(mktemp -d "${TMPDIR:-/var/tmp}/byre-guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
guest=$(realpath -m "${1:-$work/guest}")
say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }

[ -e "$guest/guest.qcow2" ] || "$scripts/make-guest.sh" "$guest"
for name in "${!BYRE_@}"; do [ "$name" = BYRE ] || unset "$name"; done
export BYRE_REPOSITORY=$work/repository BYRE_PASSWORD=guest BYRE_CACHE_DIR=$work/cache BYRE_STATE_DIR=$work/state
stamp=$(sha256sum "$guest"/*.qcow2)

say "back up"
"$BYRE" init >/dev/null 2>&1
"$BYRE" backup --name guest "$guest/guest.qcow2"
say "drill: the restored chain boots, and all its files are as they were"
"$BYRE" drill guest --to "$work" --command \
    "'$scripts/boot-test.sh' --timeout 900 --expect 'guest: [0-9]+ files are whole' --log '$work/console' ."
say "drill: it gets as far as the login prompt"
"$BYRE" drill guest --to "$work" --command "'$scripts/boot-test.sh' --timeout 900 --expect 'guest login:' ."

# The other way round: without its overlay there is no such service, so it cannot pass.
say "drill: the base alone boots, but does not say that"
"$BYRE" backup --name base "$guest/base.qcow2" >/dev/null
code=0
"$BYRE" drill base --to "$work" --command \
    "'$scripts/boot-test.sh' --timeout 900 --expect 'files are whole|login:' --log '$work/console' ." || code=$?
if [ "$code" != 0 ] || grep -q "files are whole" "$work/console"; then
    echo "FAILED: the base alone, exit $code"
    exit 1
fi
[ "$(sha256sum "$guest"/*.qcow2)" = "$stamp" ] || { echo "FAILED: the guest's disks were changed"; exit 1; }
say "done"
