#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Killed at a system call, again and again: a backup, or a key being added, never spoils what is
# there, and what is there at the end can be restored. usage: kill.sh [KILLS] (default: 40)
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
requires strace qemu-img python3
kills=${1:-40}
RANDOM=4711 # the same points each time

strace -qq -e trace=none true 2>/dev/null || skip "strace may not trace here"
# The leak checker cannot work below a tracer.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
calls=write,pwrite64,openat,fsync,linkat,unlinkat,renameat,renameat2,mkdirat,close

random_file data $((3 << 20)) 31
qemu-img create -q -f qcow2 disk.qcow2 32M
new_repository
fast_key

# change N: what the guest has written since.
change() {
    python3 -c '
import sys
seed, data = int(sys.argv[1]), open("data", "rb").read()
at = seed * 77777 % (len(data) - 131072)
open("piece", "wb").write(data[at:at + 131072])' "$1"
    guest_write disk.qcow2 piece $(($1 * 196608 % (30 << 20) / 65536 * 65536))
}

# points FILE COMMAND...: runs it, and writes each of its calls to FILE: name, and which of that name.
points() {
    local file=$1
    shift
    strace -f -qq -e trace="$calls" -o "$T/calls" "$@" >/dev/null 2>&1 || fail "$* below strace"
    sed -n 's/^[0-9]* *\([a-z0-9]*\)(.*/\1/p' "$T/calls" | awk '{ print $1, ++n[$1] }' >"$file"
    [ -s "$file" ] || fail "no calls of $* were seen"
}

# killed FILE COMMAND...: kills it at one of the points in FILE; false where it ends before.
killed() {
    local call at code=0
    read -r call at < <(sed -n "$((RANDOM % $(wc -l <"$1") + 1))p" "$1")
    shift
    # The inner shell is the one that tells of the kill.
    (
        strace -f -qq -e trace="$call" -e inject="$call:signal=SIGKILL:when=$at" -o /dev/null "$@"
        exit $?
    ) >"$T/out" 2>"$T/err" || code=$?
    case $code in
    137) return 0 ;;
    0) return 1 ;;
    esac
    cat "$T/err" >&2
    fail "exit $code, not killed at $call $at: $*"
}

change 0
cp disk.qcow2 image-first
points backup-points "$BYRE" backup --threads 1 --name first disk.qcow2
printf 'n%.0s' {1..64} >new-key && chmod 600 new-key
points key-points "$BYRE" key add --role append --new-key-file new-key

struck=0 survived=0 committed=(first)
for ((i = 1; i <= kills; i++)); do
    if ((i % 5 == 0)); then
        ! killed key-points "$BYRE" key add --role append --new-key-file new-key ||
            struck=$((struck + 1))
    else
        change "$i"
        cp disk.qcow2 image-try
        ! killed backup-points "$BYRE" backup --threads 1 --name "try-$i" disk.qcow2 ||
            struck=$((struck + 1))
        # Killed after its commit, or not at all: then it is there for good.
        if byre show "try-$i" >/dev/null 2>&1; then
            mv image-try "image-try-$i"
            committed+=("try-$i")
        fi
    fi
    expect_exit 0 byre check
    survived=$((survived + 1))
    if ((i % 20 == 0)); then
        name=${committed[RANDOM % ${#committed[@]}]}
        expect_exit 0 byre restore "$name" --to back
        same_content "image-$name" back/disk.qcow2
        rm -r back
    fi
done

# Undisturbed again, and all of it.
cp disk.qcow2 image-last
expect_exit 0 byre backup --name last disk.qcow2
committed+=(last)
expect_exit 0 byre check --read-data
expect_equal "$(archive_count)" ${#committed[@]} "archives"
for name in "${committed[@]}"; do
    expect_exit 0 byre restore "$name" --to back
    same_content "image-$name" back/disk.qcow2
    rm -r back
done
((struck * 2 >= kills)) || fail "only $struck of $kills were killed"
echo "kills: $struck of $kills runs killed, $survived checks, ${#committed[@]} archives restored equal"
