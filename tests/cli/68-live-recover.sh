#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# byre, or the machine, is killed at any step of a live backup: live status tells what is so, live
# recover puts it right, and so do the commands that live status prints. No write of the guest is lost.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091 source=tests/cli/live.sh
. "$(dirname "$0")/live.sh"
requires qemu-storage-daemon qemu-img qemu-io python3 strace socat
strace -qq -e trace=none true 2>/dev/null || skip "strace may not trace here"
# The leak checker cannot work below a tracer.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

new_repository
fast_key
random_file noise $((4 << 20)) 68
qemu-img create -q -f qcow2 root.first 32M
guest_write root.first noise 0
cp noise data.first
truncate -s 16M data.first

# fresh: two disks, and a machine that runs on them.
fresh() {
    cp --sparse=always root.first root.qcow2
    cp --sparse=always data.first data.raw
    machine root=root.qcow2 data=data.raw
}

# wrote N: the guest writes on both disks; what it sees then is in root.want and data.want.
wrote() {
    guest root "write -P $1 $1M 1M"
    guest data "write -P $1 $1M 64k"
    guest_copy root root.want
    guest_copy data data.want
}

# expect_broken PATTERN: status says so, and that it is broken.
expect_broken() {
    expect_exit 3 byre live status
    expect_says out "$1"
}

expect_disks() {
    same_content root.qcow2 root.want qcow2 raw
    cmp data.raw data.want || fail "the raw disk lost something"
    clean_qcow2 root.qcow2
}

# all_there: the machine, shut down if it runs, has all on its own files.
all_there() {
    if [ -n "$machine_pid" ]; then
        back_on root=root.qcow2 data=data.raw
        shut_down
    fi
    nothing_left_of_it
    expect_disks
}

# by_hand: what status prints, typed.
by_hand() {
    byre live status >hand || true
    sed -n 's/^ *\$ //p' hand >hand.sh
    [ -s hand.sh ] || { cat hand; fail "status tells no commands"; }
    # a job takes its time between two of them
    while IFS= read -r line <&8; do
        bash -c "$line" >hand.out 2>&1 || { cat hand.out; fail "as typed: $line"; }
        for _ in {1..100}; do
            [ -n "$machine_pid" ] || break
            [ "$(qmp 'any(j["status"] in ("created", "running", "waiting", "aborting")
                for j in r[0])' query-jobs '{}')" = True ] || break
        done
    done 8<hand.sh
}

# killed_at CALL N PATH: a backup is killed at the Nth such call on PATH.
killed_at() {
    local code=0
    (
        strace -f -qq -P "$3" -e trace="$1" -o "$T/strace" \
            -e inject="$1:signal=SIGKILL:when=$2" "$BYRE" backup --qmp "$T/qmp.sock"
        exit $?
    ) >killed.out 2>&1 || code=$?
    [ "$code" = 137 ] || { cat killed.out; fail "exit $code, not killed at $1 $2 of $3"; }
}

# ---- byre is killed while it reads; the machine lives ----
fresh
held
journal=$(echo "$T"/state/live/*.json)
wrote 1
expect_exit 0 byre live status
expect_says out 'being backed up'
killed_while_held
wrote 2
expect_broken 'the machine is running'
expect_says out 'the machine writes to the overlay'
expect_exit 0 byre live recover
all_there

# The same, by hand.
fresh
held
wrote 3
killed_while_held
by_hand
all_there

# The next backup puts it right by itself.
fresh
held
wrote 4
killed_while_held
expect_exit 0 byre --json backup --qmp qmp.sock
expect_says err 'an earlier backup of this machine was broken off'
all_there
expect_exit 0 byre restore latest --to restored-4
same_content restored-4/root.qcow2 root.want qcow2 raw

# ---- and then the machine is gone, too ----
fresh
held
wrote 5
killed_while_held
crash
expect_broken 'not running'
expect_says out 'qemu-img commit'
expect_exit 0 byre live recover
all_there

fresh
held
wrote 6
killed_while_held
shut_down
by_hand
all_there

# It dies while byre reads: the archive is made, and the disks are put together by byre itself.
fresh
guest_copy root root.frozen
held
wrote 7
crash
released
all_there
expect_exit 0 byre restore latest --to restored-7
same_content restored-7/root.qcow2 root.frozen qcow2 raw

# ---- it was started again, on the base ----
# Nothing was in the overlay: it is only removed.
fresh
guest_copy root root.want
guest_copy data data.want
held
killed_while_held
crash
machine root=root.qcow2 data=data.raw
expect_broken 'the overlay is empty'
expect_exit 0 byre live recover
all_there

# Both were written to: nobody but a person can decide.
fresh
held
wrote 8
killed_while_held
crash
machine root=root.qcow2 data=data.raw
guest root 'write -P 99 20M 1M'
expect_broken split
expect_exit 1 byre live recover
expect_says err 'split'
expect_exit 1 byre backup --qmp qmp.sock
shut_down
fingerprint root.qcow2 root.qcow2.byre-live >before-split
expect_exit 1 byre live recover
fingerprint root.qcow2 root.qcow2.byre-live | cmp before-split - || fail "a split was touched"
expect_exit 0 byre live recover --discard-overlay
nothing_left_of_it
io root.qcow2 'read -P 99 20M 1M'

# The same where byre died before it knew how the machine had left the base.
fresh
killed_at fsync 1 "$T/root.qcow2"
wrote 10
crash
machine root=root.qcow2 data=data.raw
guest root 'write -P 98 20M 1M'
shut_down
fingerprint root.qcow2 root.qcow2.byre-live >before-split
expect_exit 1 byre live recover
expect_says err 'split'
fingerprint root.qcow2 root.qcow2.byre-live | cmp before-split - || fail "a split was touched"
expect_exit 0 byre live recover --discard-overlay
nothing_left_of_it

# ---- killed before each writing of the journal, and before an overlay goes ----
# preparing, switching, frozen, archived, committing, complete, complete
for n in 1 2 3 4 5 6 7 8; do
    fresh
    wrote 9
    if [ $n -lt 8 ]; then
        killed_at openat $n "${journal%.json}.tmp"
    else
        killed_at unlink 1 "$T/root.qcow2.byre-live"
    fi
    # the guard may have something to do yet
    for _ in {1..200}; do
        byre live status >out 2>&1 || true
        grep -q 'being backed up' out || break
    done
    wrote $((9 + n % 2))
    case $n in
    1 | 3 | 5) ;;
    *) crash ;;
    esac
    if [ -e "$journal" ]; then expect_broken 'broken backup'; fi
    expect_exit 0 byre live recover
    all_there
done

# ---- the journal cannot be written at the moment in which the guest's writes wait for it ----
fresh
code=0
strace -f -qq -P "${journal%.json}.tmp" -e trace=openat -o strace -e inject=openat:error=ENOSPC:when=6+ \
    "$BYRE" backup --qmp qmp.sock >out 2>err || code=$?
[ "$code" = 3 ] || { cat out err; fail "exit $code, not 3, with a full state folder"; }
expect_says err 'No space left on device'
timeout 20 qemu-io -f raw -c 'write -P 8 1M 64k' "nbd+unix:///root?socket=$T/nbd.sock" >out || fail "the guest's writes wait for ever"
wrote 11
expect_broken 'the machine writes to the overlay'
expect_exit 0 byre live recover
all_there
