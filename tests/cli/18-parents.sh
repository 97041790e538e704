#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# An earlier backup that cannot be read, or not all of it, is no reason to fail, nor to rely on what
# is not there: all is read and stored again.
# shellcheck disable=SC1091 source=tests/cli/unchanged.sh
# shellcheck disable=SC2119,SC2317,SC2329
. "$(dirname "$0")/unchanged.sh"

# packs CLASS: the files of the packs of data (1) or metadata (2).
packs() {
    python3 - "$BYRE_REPOSITORY/packs" "$1" <<'END'
import os, sys
for folder, _, names in sorted(os.walk(sys.argv[1])):
    for name in sorted(names):
        with open(os.path.join(folder, name), "rb") as f:
            head = f.read(64)
        if head[:8] == b"byrepack" and head[10] == int(sys.argv[2]):
            print(os.path.join(folder, name))
END
}
# disk OPTIONS: two views of 16 MiB, so that trees have nodes and leaves.
disk() {
    mk top.qcow2 64M "$1"
    random_file data 16777216 4
    guest_write top.qcow2 data 1M
    rm data
    snap -c a
    io top.qcow2 'write -P 1 40M 1M'
}
# healed: the newest archive was made without what is lost, and comes back; later ones rely on it.
healed() {
    saved
    expect_says "$T/warnings" 'cannot be (used|compared with)'
    saved
    # That packs are missing is said until they are given up.
    expect_says "$T/warnings" 'is missing'
    ! grep -E 'cannot be (used|compared with)' "$T/warnings" || fail "the healed archive is not relied on"
}
lost_after() { # lost_after COMMAND: what is stored before it is lost, but for what it does.
    packs 2 >"$T/packs"
    "$@"
    xargs rm -f <"$T/packs"
    rm -rf "$T/cache"
}
# All that the first archive has of its own is gone with its record.
case_record_is_lost() {
    disk ''
    saved
    lost_after true
    io top.qcow2 'write -P 2 5M 64k'
    healed
    check_code=4
}
# Its record is there, for it was stored last; the trees are not.
case_trees_are_lost() {
    disk ''
    saved
    lost_after saved
    healed
    check_code=4
}
case_trees_are_lost_and_something_changed() {
    disk ''
    saved
    io top.qcow2 'write -P 2 5M 64k'
    lost_after saved
    io top.qcow2 'write -P 3 7M 64k'
    healed
    check_code=4
}
plain_trees_of_a_raw_disk_are_lost() {
    random_file top.qcow2.raw 16777216 5
    tops=(top.qcow2.raw)
    saved
    touch top.qcow2.raw
    lost_after saved
    touch top.qcow2.raw
    healed
    check_code=4
}
run_cases
