#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A source that somebody writes to is refused; readers do no harm.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 qemu-storage-daemon

random_file data 65536 18
qemu-img create -q -f qcow2 base.qcow2 4M
guest_write base.qcow2 data 1M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
guest_write top.qcow2 data 2M
truncate -s 1M raw.img
new_repository

# hold ARGUMENTS...: a qemu-io that has an image open, in ${holder}; release ends it.
hold() {
    coproc IO { qemu-io "$@" 2>&1; }
    holder=$IO_PID
    exec {to_io}>&"${IO[1]}"
    # qemu-io has opened the image when it answers.
    echo length >&"$to_io"
    read -r _ <&"${IO[0]}"
}
release() {
    echo quit >&"$to_io"
    exec {to_io}>&-
    wait "$holder" 2>/dev/null || true
}

in_use() {
    local size
    size=$(find repo -type f -printf '%p %s\n' | sort)
    expect_exit 11 byre backup "$@"
    expect_says "$T/err" '(in use|lock|writ)'
    [ "$size" = "$(find repo -type f -printf '%p %s\n' | sort)" ] || fail "a refused backup stored something"
    nothing_left
}

hold -f qcow2 top.qcow2
in_use top.qcow2
expect_says "$T/err" 'top.qcow2'
in_use base.qcow2 top.qcow2
in_use --only-top top.qcow2
release
expect_exit 0 byre backup top.qcow2

# The base alone is written to: the chain cannot be consistent.
hold -f qcow2 base.qcow2
in_use top.qcow2
expect_says "$T/err" 'base.qcow2'
expect_exit 0 byre backup --only-top --name only top.qcow2
release
hold -f raw raw.img
in_use raw.img
release

# The storage daemon, as a machine would.
qemu-storage-daemon --daemonize --pidfile "$T/qsd.pid" \
    --blockdev driver=file,node-name=f,filename="$T/top.qcow2" \
    --blockdev driver=qcow2,node-name=q,file=f
qsd=$(cat qsd.pid)
at_end "kill $qsd 2>/dev/null; true"
in_use top.qcow2
# Its base is in use as a base only: that is fine with --frozen-base, and told of without.
expect_exit 3 byre backup --json --name base base.qcow2
expect_json 'd["top_in_use_as_base"]'
expect_says "$T/err" 'frozen-base|base|in use'
expect_exit 0 byre backup --json --name base --frozen-base base.qcow2
kill "$qsd"
tail --pid="$qsd" -f /dev/null
expect_exit 0 byre backup --json --name base base.qcow2
expect_json 'not d["top_in_use_as_base"]'

# A reader.
hold -r -f qcow2 top.qcow2
byre backup --name read --json top.qcow2 >"$T/out" 2>"$T/err" || [ $? = 3 ] || fail "a reader hinders: $(cat "$T/err")"
release
expect_exit 0 byre restore read --to back
same_layer top.qcow2 back/top.qcow2

# While byre reads, a writer is kept out: strace stops it in the middle of its reads.
command -v strace >/dev/null || skip "the rest needs strace"
if sanitized; then skip "the rest needs a program that strace gets along with"; fi
truncate -s 64M big.img
random_file big.img 50331648 29
strace -f -qq -o strace.out -P "$T/big.img" -e trace=pread64 -e inject=pread64:signal=SIGSTOP:when=3 \
    "$BYRE" backup -q --threads 1 --name big big.img &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -q 'stopped by SIGSTOP' strace.out 2>/dev/null; do :; done
grep -q 'stopped by SIGSTOP' strace.out || { wait $pid || true; skip "strace did not stop the backup"; }
qemu-io -f raw -c 'write 0 512' big.img >"$T/out" 2>&1 || true
kill -CONT "$(pgrep -P $pid)"
expect_says "$T/out" 'lock'
wait $pid || fail "a backup that was stopped and continued fails"
expect_exit 0 byre restore big --format raw --to big.raw
cmp big.img big.raw || fail "a backup that was stopped and continued is not what was there"
