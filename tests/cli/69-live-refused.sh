#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What cannot be frozen is refused with the reason, before anything is touched; and a guest whose
# space runs out, or whose agent does not play along, is not harmed.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091 source=tests/cli/live.sh
. "$(dirname "$0")/live.sh"
requires qemu-storage-daemon qemu-img qemu-io python3

new_repository
fast_key

# refused CODE PATTERN [OPTION...]: and the machine is as it was.
refused() {
    local code=$1 pattern=$2 before
    shift 2
    before=$(nodes)
    expect_exit "$code" byre backup --qmp qmp.sock "$@"
    expect_says err "$pattern"
    expect_equal "$(nodes)" "$before" "what the machine writes to"
    nothing_left_of_it
}

# ---- the command line ----
expect_exit 2 byre backup
expect_exit 2 byre backup --qmp qmp.sock disk.qcow2
expect_exit 2 byre backup --quiesce disk.qcow2
expect_exit 2 byre backup --qmp qmp.sock --bitmap
expect_exit 1 byre backup --qmp qmp.sock
expect_says err 'qmp.sock'

# ---- disks ----
qemu-img create -q -f qcow2 one.qcow2 8M
qemu-img create -q -f qcow2 two.qcow2 8M
machine one=one.qcow2 two=two.qcow2
refused 1 'no disk three' --disk three
refused 1 'No such file' --overlay-dir nowhere
touch one.qcow2.byre-live
expect_exit 1 byre backup --qmp qmp.sock
expect_says err 'one.qcow2.byre-live is there already'
rm one.qcow2.byre-live

# Another client has the monitor.
python3 -c '
import signal, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(100)
print("there", flush=True); signal.pause()' qmp.sock >client &
client=$!
at_end "kill $client 2>/dev/null"
until [ -s client ]; do :; done
expect_exit 11 byre backup --qmp qmp.sock
kill $client
wait $client || true

# A job of somebody else's.
truncate -s 8M copy
qmp '""' blockdev-add '{"node-name": "copy", "driver": "raw", "file": {"driver": "file",
    "filename": "'"$T/copy"'"}}' blockdev-mirror '{"job-id": "theirs", "device": "one",
    "target": "copy", "sync": "none"}' >/dev/null
refused 1 'a job is running' --disk one
qmp '""' job-cancel '{"id": "theirs"}' >/dev/null
shut_down

# An export that would make the way back impossible, and a disk that is no file here.
machine one=one.qcow2
if [ -c /dev/fuse ] && touch mountpoint &&
    qmp '""' block-export-add '{"type": "fuse", "id": "fuse", "node-name": "one",
        "mountpoint": "'"$T/mountpoint"'", "writable": false}' >/dev/null 2>&1; then
    refused 1 'fuse.*--content'
    qmp '""' block-export-del '{"id": "fuse"}' >/dev/null
fi
mv nbd.sock far.sock
far_pid=$machine_pid
at_end "kill -9 $far_pid 2>/dev/null"
qemu-storage-daemon --blockdev "driver=nbd,node-name=net,server.type=unix,server.path=$T/far.sock,export=one" \
    --blockdev driver=raw,node-name=far,file=net \
    --nbd-server "addr.type=unix,addr.path=$T/nbd.sock" \
    --export type=nbd,id=x-far,name=far,node-name=far,writable=on \
    --chardev "socket,id=qmp,path=$T/far-qmp.sock,server=on,wait=off" --monitor chardev=qmp \
    --daemonize --pidfile far.pid
expect_exit 1 byre backup --qmp far-qmp.sock
expect_says err 'no file or block device of this host but nbd; --content'
kill "$(cat far.pid)"
shut_down

# ---- space ----
requires_root
truncate -s 48M full.img
mkfs.ext4 -q full.img
mkdir full
mount -o loop full.img full
at_end "umount -l '$T/full'"
qemu-img create -q -f qcow2 full/disk.qcow2 64M
random_file noise $((8 << 20)) 69
guest_write full/disk.qcow2 noise 0
machine disk=full/disk.qcow2
held --rate-limit 2MiB/s
guest disk 'write -P 9 16M 15M'
guest_copy disk want
released 1
expect_says held.err 'space runs out'
back_on disk=disk.qcow2
guest_copy disk now
cmp want now
expect_equal "$(archive_count)" 0 'archives'
# To another folder there is room; but not for more than the base can take back; and with none there
# either, nothing is begun.
held --rate-limit 2MiB/s --overlay-dir "$T"
guest disk 'write -P 8 0 31M'
released 1
expect_says held.err "space runs out where $T/full/disk.qcow2 is"
back_on disk=disk.qcow2
expect_exit 0 byre backup --qmp qmp.sock --overlay-dir "$T"
dd if=/dev/zero of=full/rest bs=64k status=none 2>/dev/null || true
refused 1 'no room'
back_on disk=disk.qcow2
shut_down
