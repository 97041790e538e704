#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A machine whose chain was put together node by node, as libvirt does it, is backed up where that is the
# chain which the files name; where it is another, the files are not the guest's disk, and it is refused.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-storage-daemon qemu-img qemu-io python3

new_repository
fast_key

# with_chain BACKING [FORMAT]: a machine that has top.qcow2 over this file.
with_chain() {
    rm -f qmp.sock nbd.sock
    qemu-storage-daemon --daemonize --pidfile qsd.pid \
        --chardev "socket,id=qmp,path=$T/qmp.sock,server=on,wait=off" --monitor chardev=qmp \
        --nbd-server "addr.type=unix,addr.path=$T/nbd.sock" \
        --blockdev "driver=file,node-name=middle-file,filename=$T/$1,read-only=on" \
        --blockdev "driver=${2:-qcow2},node-name=middle,file=middle-file,read-only=on" \
        --blockdev "driver=file,node-name=top-file,filename=$T/top.qcow2" \
        --blockdev driver=qcow2,node-name=top,file=top-file,backing=middle \
        --export type=nbd,id=x,node-name=top,writable=on || fail "the machine does not start"
    machine_pid=$(cat qsd.pid)
}
machine_pid=
# shellcheck disable=SC2016 # it is evaluated at the end
at_end '[ -z "$machine_pid" ] || kill -9 "$machine_pid"'
shut_down() {
    local try
    kill "$machine_pid"
    for try in {1..500}; do
        kill -0 "$machine_pid" 2>/dev/null || { machine_pid=; return 0; }
        read -rt 0.02 <> <(:) || true
    done
    fail "the machine does not end"
}
refused() {
    expect_exit 1 byre backup --qmp qmp.sock --name refused
    expect_says err 'other files below node top than its header names'
    expect_equal "$(find . -name '*.byre-live')" '' 'overlays'
    shut_down
}

qemu-img create -q -f qcow2 base.qcow2 16M
io base.qcow2 'write -P 1 0 1M'
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2
io middle.qcow2 'write -P 2 1M 1M'
qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2
io top.qcow2 'write -P 3 2M 1M'

with_chain middle.qcow2
expect_exit 0 byre backup --qmp qmp.sock --name chain
expect_exit 0 byre live status
shut_down
expect_exit 0 byre restore chain --to restored
qemu-img compare -q restored/top.qcow2 top.qcow2

# By another name for it the chain is the same.
ln -s middle.qcow2 link.qcow2
with_chain link.qcow2
expect_exit 0 byre backup --qmp qmp.sock --name chain
shut_down

# Where a header does not say a format, it is qcow2 that is found there.
cp top.qcow2 kept.qcow2
python3 - top.qcow2 <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    head = f.read(65536)
    f.seek(head.index(struct.pack(">I", 0xe2792aca)))  # the extension that says it
    f.write(b"byre")  # now of no meaning to anybody
END
with_chain middle.qcow2
expect_exit 0 byre backup --qmp qmp.sock --name unsaid
shut_down
cp kept.qcow2 top.qcow2

cp middle.qcow2 other.qcow2
with_chain other.qcow2
refused
with_chain middle.qcow2 raw
refused
qemu-img rebase -q -u -b '' top.qcow2
with_chain middle.qcow2
refused
