#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# byre beside restic and borg on the same disks, in one run. Exits 1 where byre is not as far ahead as it is
# meant to be. Root, for the disks are mounted to be made (once).
# usage: bench.sh [--install] [--disks DIR] [--work DIR] [--rounds N] [--tools LIST] [--json FILE] [--byre PROGRAM] [WORK]...
#   --install  installs from Debian's archive what is missing
#   --disks    where make-disks.sh has made the disks, or is to (default: /var/tmp/byre-disks)
#   --work     where the repositories go, four times the disks (default: beside the disks); all of it goes
#              again, also when the run is stopped
#   --rounds   how often each is measured; medians count (default: 3)
#   --tools    what is measured (default: byre,restic,borg)
#   --json     where all figures of all rounds go
#   --byre     the program (default: a release build of this tree)
#   WORK       rows of the table (default: all): first again touched full-read db bitmap restore check prune size1
#              size2 size3 copy limit
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")/.." && pwd)
usage() {
    sed -n 's/^# usage: /usage: /p; /^#   /s/^# //p' "$0" >&2
    exit 2
}

install=false disks=/var/tmp/byre-disks work='' byre='' tools=byre,restic,borg rest=()
while (($#)); do
    case $1 in
    --install) install=true ;;
    --disks) disks=${2:?} && shift ;;
    --work) work=${2:?} && shift ;;
    --byre) byre=$(realpath "${2:?}") && shift ;;
    --tools) tools=${2:?} && shift ;;
    --json) rest+=(--json "$(realpath "${2:?}")") && shift ;;
    --rounds) rest+=(--rounds "${2:?}") && shift ;;
    -*) usage ;;
    *) rest+=("$1") ;;
    esac
    shift
done

if $install; then
    "$here/scripts/install-deps.sh"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        restic borgbackup debootstrap qemu-system-common >/dev/null
fi
for tool in ${tools//,/ } qemu-img qemu-io python3; do
    [ "$tool" != byre ] || continue
    command -v "$tool" >/dev/null || { echo "bench.sh: $tool is missing; --install installs it" >&2; exit 1; }
done
if [ -z "$byre" ]; then
    (cd "$here" && cmake --preset release --log-level=WARNING >/dev/null && cmake --build build/release -- --quiet)
    byre=$here/build/release/src/cli/byre
fi
[ -z "$work" ] || mkdir -p "$work"
[ -e "$disks/load/commands" ] || "$here/scripts/make-disks.sh" "$disks"
exec python3 "$here/scripts/bench.py" --byre "$byre" --disks "$disks" --work "${work:-$disks}" --tools "$tools" "${rest[@]}"
