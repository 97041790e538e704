#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A chain with file systems of real files in it, from end to end.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 mke2fs

# A base with at least 300 MB of real files.
mkdir tree
total=$(python3 -c '
import os, sys
total = 0
with open("files", "wb") as out:
    for start in b"/usr/share", b"/usr/lib", b"/usr/bin", b"/usr/include", b"/opt":
        for folder, folders, files in os.walk(start):
            folders.sort()
            for file in sorted(files):
                path = os.path.join(folder, file)
                if total >= 330000000 or os.path.islink(path) or not os.access(path, os.R_OK): continue
                size = os.path.getsize(path)
                if not os.path.isfile(path) or size > 20000000: continue
                total += size
                out.write(path[1:] + b"\0")
print(total)')
tar -c -C / --hard-dereference --null --no-recursion -T "$T/files" | tar -x -C tree
[ "$total" -ge 300000000 ] || skip "this machine has only $total bytes of files to put in"
truncate -s 1G disk.raw
mke2fs -q -t ext4 -d tree -E hash_seed=11111111-2222-3333-4444-555555555555 disk.raw
qemu-img convert -f raw -O qcow2 disk.raw base.qcow2
rm -r disk.raw

# Overlays: by a real kernel where there is one to be had, else as blocks.
kernel_writes() { # kernel_writes IMAGE SCRIPT-ARGUMENT
    local device
    [ "$(id -u)" = 0 ] && [ -e /dev/fuse ] && command -v qemu-storage-daemon losetup mount >/dev/null || return 1
    : >"$1.export"
    qemu-storage-daemon --daemonize --pidfile "$T/qsd.pid" \
        --blockdev driver=file,node-name=f,filename="$T/$1",discard=unmap \
        --blockdev driver=qcow2,node-name=q,file=f,discard=unmap \
        --export "type=fuse,id=x,node-name=q,mountpoint=$T/$1.export,writable=on" 2>"$T/err" || return 1
    qsd=$(cat "$T/qsd.pid")
    device=$(losetup --find --show "$T/$1.export" 2>"$T/err") || { kill "$qsd"; return 1; }
    mkdir -p mnt
    if ! mount -t ext4 "$device" mnt 2>"$T/err"; then
        losetup -d "$device"
        kill "$qsd"
        return 1
    fi
    # A short life of a machine.
    mkdir -p "mnt/new-$2"
    find mnt/usr -type f -size +100k | sort | awk "NR % 7 == $2" | head -n 60 | while read -r file; do
        cp "$file" "mnt/new-$2/$(echo "$file" | tr / _)"
    done
    find mnt/usr -type f | sort | awk "NR % 50 == $2" | head -n 100 | xargs rm -f
    find mnt/usr -type f -size +20k | sort | awk "NR % 40 == $2" | head -n 50 | while read -r file; do
        echo "changed in layer $2" >>"$file"
    done
    fstrim mnt 2>/dev/null || true
    umount mnt
    losetup -d "$device"
    kill "$qsd"
    tail --pid="$qsd" -f /dev/null
    writer='a kernel'
}
block_writes() {
    random_file piece 8388608 "$2"
    guest_write "$1" piece "$(($2 * 200))M"
    io "$1" "write -P $2 $(($2 * 100 + 50))M 3M" "discard $(($2 * 100))M 10M" "write -z $(($2 * 300))M 5M"
    writer='qemu-io'
}
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2
kernel_writes middle.qcow2 1 || block_writes middle.qcow2 1
qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2
kernel_writes top.qcow2 2 || block_writes top.qcow2 2
echo "overlays were written by $writer"
rm -rf tree
fingerprint base.qcow2 middle.qcow2 top.qcow2 >before

new_repository
expect_exit 0 byre backup --json top.qcow2
expect_json 'd["layers_total"] == 3 and d["bytes_stored"] < d["bytes_allocated"]'
json '"{:.0f} MB allocated, {:.0f} MB stored, {} s".format(d["bytes_allocated"] / 1e6, d["bytes_stored"] / 1e6, d["seconds"])'
expect_exit 0 byre backup --json top.qcow2
expect_json 'd["chunks_new"] == 0 and d["bytes_new"] == 0'
expect_exit 0 byre check --read-data
expect_exit 0 byre restore latest --to back --verify
fingerprint base.qcow2 middle.qcow2 top.qcow2 | cmp - before || fail "a backup changed its sources"
for layer in base middle top; do same_layer "$layer.qcow2" "back/$layer.qcow2"; done
same_content top.qcow2 back/top.qcow2 qcow2 qcow2
rm -r back
expect_exit 0 byre restore latest --flatten --to flat.qcow2
same_content top.qcow2 flat.qcow2 qcow2 qcow2
clean_qcow2 flat.qcow2
expect_exit 0 byre restore latest --format raw --to flat.raw
same_content top.qcow2 flat.raw qcow2 raw
if command -v e2fsck >/dev/null && [ "$writer" = 'a kernel' ]; then
    e2fsck -fn flat.raw >"$T/out" 2>&1 || fail "the restored file system is damaged: $(tail -n 5 "$T/out")"
fi
nothing_left
