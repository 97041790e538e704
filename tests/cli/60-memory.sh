#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Memory stays below 256 MiB for a disk of 1 TiB, and time does not grow with its holes.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3
if sanitized; then skip "a sanitizer takes memory of its own"; fi

# peak COMMAND...: its greatest resident size in KiB.
peak() {
    python3 -c '
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=open("peak.out", "w")).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)' "$@" || fail "exit $?: $*"
}
small() {
    local kib
    kib=$(peak "$@")
    echo "$kib KiB: ${*:2}"
    [ "$kib" -lt 262144 ] || fail "$kib KiB of memory: $*"
}

# Data spread over all of it: every 4 GiB a piece, so that there are many tables.
qemu-img create -q -f qcow2 base.qcow2 1T
random_file piece 1048576 27
python3 -c '
for i in range(256):
    print(f"write -q -s piece {i * 4096 + i % 7}M 1M")
    for k in range(1, 8): print(f"write -q -P {i % 255 + 1} {i * 4096 + k * 512}M 64k")' >commands
qemu-io -f qcow2 --cache unsafe base.qcow2 <commands >"$T/qemu-io"
! grep -qi fail "$T/qemu-io" || fail "qemu-io"
qemu-img create -q -f qcow2 -o cluster_size=4k -b base.qcow2 -F qcow2 top.qcow2
python3 -c '
for i in range(512): print(f"write -q -P {i % 200 + 3} {i * 2048 + 1}M 20k")' >commands
qemu-io -f qcow2 --cache unsafe top.qcow2 <commands >"$T/qemu-io"
! grep -qi fail "$T/qemu-io" || fail "qemu-io"
truncate -s 1T hole.raw
new_repository
small "$BYRE" backup --name tib --json top.qcow2
small "$BYRE" backup --name tib --json top.qcow2
json 'd["chunks_new"]' peak.out | grep -qx 0 || fail "a second backup stores chunks"
small "$BYRE" backup --name hole hole.raw
small "$BYRE" restore tib --to back
small "$BYRE" restore tib --flatten --to flat.qcow2
small "$BYRE" restore hole --to hole
small "$BYRE" restore tib --format raw --to flat.raw
small "$BYRE" check --read-data
same_info base.qcow2 back/base.qcow2
same_info top.qcow2 back/top.qcow2
clean_qcow2 back/base.qcow2
clean_qcow2 back/top.qcow2
same_content top.qcow2 back/top.qcow2 qcow2 qcow2
same_content top.qcow2 flat.qcow2 qcow2 qcow2
expect_equal "$(stat -c %s hole/hole.raw)" $((1 << 40)) "size of a raw hole"
[ "$(du -k hole/hole.raw | cut -f1)" -lt 1024 ] || fail "a hole was filled"
