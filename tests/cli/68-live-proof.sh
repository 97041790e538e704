#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Whose bytes are right is proven, never guessed: an overlay goes, or is committed, only where that
# loses nothing, whatever failed on the way, and whoever has laid hands on it meanwhile.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091 source=tests/cli/live.sh
. "$(dirname "$0")/live.sh"
requires qemu-storage-daemon qemu-img qemu-io python3 strace
strace -qq -e trace=none true 2>/dev/null || skip "strace may not trace here"
# The leak checker cannot work below a tracer.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

new_repository
fast_key
random_file noise $((4 << 20)) 86

# fresh: two disks, and a machine that runs on them.
fresh() {
    rm -f ./*.byre-live
    qemu-img create -q -f qcow2 root.qcow2 32M
    guest_write root.qcow2 noise 0
    cp noise data.raw
    truncate -s 16M data.raw
    machine root=root.qcow2 data=data.raw
}

# wrote N: the guest writes on both disks; what it sees then is in root.want and data.want.
wrote() {
    guest root "write -P $1 $1M 1M"
    guest data "write -P $1 $1M 64k"
    guest_copy root root.want
    guest_copy data data.want
}

# all_there: the machine, shut down if it runs, has all on its own files.
all_there() {
    if [ -n "$machine_pid" ]; then
        back_on root=root.qcow2 data=data.raw
        shut_down
    fi
    nothing_left_of_it
    same_content root.qcow2 root.want qcow2 raw
    cmp data.raw data.want || fail "the raw disk lost something"
}

# ---- a base that cannot be flushed: all disks go back, not only those before it ----
fresh
wrote 5
code=0
for disk in root.qcow2 data.raw; do
    code=0
    strace -f -qq -o strace.out -P "$T/$disk" -e trace=fsync -e inject=fsync:error=EIO:when=1 \
        "$BYRE" backup --qmp "$T/qmp.sock" >out 2>&1 || code=$?
    expect_equal "$code" 1 "exit"
    expect_says out "$disk: Input/output error"
    back_on root=root.qcow2 data=data.raw
done
all_there
