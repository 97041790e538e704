#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A full disk, under the repository or under the target of a restore.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 mount
requires_root

random_file data 6291456 21
random_file small 65536 22
qemu-img create -q -f qcow2 disk.qcow2 64M
guest_write disk.qcow2 small 1M
mkdir small-fs
mount -t tmpfs -o size=4M byre-test small-fs 2>/dev/null || skip "no tmpfs to be mounted"
at_end "umount '$T/small-fs'"

# The repository's disk.
export BYRE_REPOSITORY=$T/small-fs/repo
new_repository
expect_exit 0 byre backup --name fits disk.qcow2
guest_write disk.qcow2 data 8M
expect_exit 1 byre backup --name too-big disk.qcow2
expect_says "$T/err" 'no space|full'
nothing_left
expect_equal "$(archive_count)" 1 "archives on a full disk"
expect_exit 0 byre restore fits --to fits-back
expect_exit 0 byre check --read-data
# Room again: what was uploaded is reused.
mount -o remount,size=32M small-fs
expect_exit 0 byre backup --name fits-now disk.qcow2 --json
expect_exit 0 byre restore fits-now --to back --verify
same_layer disk.qcow2 back/disk.qcow2
expect_exit 0 byre check --read-data
nothing_left
export BYRE_REPOSITORY=$T/big
expect_exit 0 byre init --reserve 0
expect_exit 0 byre backup --name disk disk.qcow2

# A reserve that does not fit: no half a repository.
mount -o remount,size=16M small-fs
rm -r small-fs/repo
expect_exit 1 byre init --repo small-fs/repo --reserve 1G
expect_missing small-fs/repo
expect_exit 0 byre init --repo small-fs/repo --reserve 1M
rm -r small-fs/repo

# The target's disk.
mount -o remount,size=2M small-fs
for way in '--to small-fs/out' '--flatten --to small-fs/out.qcow2' '--format raw --to small-fs/out.raw'; do
    # shellcheck disable=SC2086
    expect_exit 1 byre restore disk $way
    expect_says "$T/err" 'no space|full'
    expect_equal "$(find small-fs -type f)" '' "files on a full disk"
    rm -rf small-fs/out
done
# --force does not lose what was there.
head -c 100000 small >small-fs/out.raw
expect_exit 1 byre restore disk --format raw --to small-fs/out.raw --force
head -c 100000 small | cmp - small-fs/out.raw || fail "a failed restore destroyed the file that it was to replace"

# No room for cache and state is no reason to fail a restore.
mount -o remount,size=64k small-fs
head -c 1000000 /dev/zero >small-fs/filler 2>/dev/null || true
expect_exit 0 byre restore disk --cache-dir small-fs/cache --to last
same_layer disk.qcow2 last/disk.qcow2
