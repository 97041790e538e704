#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Restore to a block device.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 losetup
requires_root

random_file data 262144 11
qemu-img create -q -f qcow2 disk.qcow2 8M
guest_write disk.qcow2 data 3M
io disk.qcow2 'write -z 1M 64k'
new_repository
expect_exit 0 byre backup disk.qcow2

# device SIZE: its name is in ${device}, full of old bytes.
device() {
    head -c "$1" /dev/zero | tr '\0' 'z' >"backing-$1"
    device=$(losetup --find --show "backing-$1") || skip "no loop device to be had"
    at_end "losetup -d $device"
}
device 8388608
before=$(stat -c '%n %F %a %t:%T' "$device")
expect_exit 0 byre restore latest --format raw --to "$device" --force --verify
same_content disk.qcow2 "$device" qcow2 raw
expect_equal "$(stat -c '%n %F %a %t:%T' "$device")" "$before" "the device itself"

# A bigger one will do; a smaller one is not begun.
device 9437184
expect_exit 0 byre restore latest --format raw --to "$device" --force
head -c 8388608 "$device" >got.raw
same_content disk.qcow2 got.raw qcow2 raw
device 4194304
expect_exit 1 byre restore latest --format raw --to "$device" --force
expect_says "$T/err" 'small|size|bytes|room'
head -c 4194304 /dev/zero | tr '\0' 'z' | cmp - "$device" || fail "a device that is too small was written to"

# A qcow2 on a device is read from it too, where the user says that nothing writes to it.
device 10485760
cp disk.qcow2 fixed.qcow2
dd if=fixed.qcow2 of="$device" conv=notrunc status=none
blockdev --flushbufs "$device" 2>/dev/null || sync
expect_exit 0 byre backup --assume-stopped --name dev "$device" --json
expect_exit 0 byre restore dev --format raw --to dev.raw
case $(byre show dev --json) in
*'"format":"qcow2"'*) same_content disk.qcow2 dev.raw qcow2 raw ;;
*) cmp "$device" dev.raw || fail "a device as raw" ;;
esac
