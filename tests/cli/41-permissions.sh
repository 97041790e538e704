#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Permissions: an unreadable source, a repository that cannot be written to, a closed target.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 65536 20
qemu-img create -q -f qcow2 disk.qcow2 4M
guest_write disk.qcow2 data 1M
new_repository
expect_exit 0 byre backup --name mine disk.qcow2

# user COMMAND...: as somebody without rights, whatever we are.
if [ "$(id -u)" = 0 ]; then
    requires setpriv
    user() { setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "$@"; }
else
    user() { "$@"; }
fi
program=$BYRE
user test -x "$program" || { cp "$program" byre; program=$T/byre; }
chmod 755 "$T"
mkdir home2
chmod 777 home2
export HOME=$T/home2

# His own repository, and an image that he may not read.
export BYRE_CACHE_DIR=$T/home2/cache BYRE_STATE_DIR=$T/home2/state
expect_exit 0 user "$program" init --reserve 0 --repo home2/repo
cp disk.qcow2 closed.qcow2
chmod 0 closed.qcow2
expect_exit 1 user "$program" backup --repo home2/repo closed.qcow2
expect_says "$T/err" 'closed.qcow2.*permission'
qemu-img create -q -f qcow2 -b closed.qcow2 -F qcow2 over.qcow2 4M
chmod 644 over.qcow2
expect_exit 1 user "$program" backup --repo home2/repo over.qcow2
expect_says "$T/err" 'closed.qcow2.*permission'
expect_equal "$(user "$program" list --repo home2/repo --json)" '[]' "archives of unreadable images"
expect_empty_folder home2/repo/tmp
chmod 644 disk.qcow2
# A file that may be read but not written to is enough.
expect_exit 0 user "$program" backup --repo home2/repo disk.qcow2
expect_exit 0 user "$program" restore latest --repo home2/repo --to home2/back
same_layer disk.qcow2 home2/back/disk.qcow2
expect_exit 1 user "$program" restore latest --repo home2/repo --to "$T/no-right"
expect_missing "$T/no-right"

# A repository that may only be read: lists, checks and restores, and takes no backup.
chmod -R a+rX,a-w repo
user test -w repo/log && skip "nobody is kept from writing here"
expect_exit 0 user "$program" list
expect_exit 0 user "$program" show mine
expect_exit 0 user "$program" check --read-data
expect_exit 0 user "$program" restore mine --to home2/back2
same_layer disk.qcow2 home2/back2/disk.qcow2
guest_write disk.qcow2 data 2M
expect_exit 1 user "$program" backup disk.qcow2
expect_says "$T/err" 'repo.*(permission|read-only)'
echo new >home2/pw
expect_exit 1 user "$program" key add --new-password-file home2/pw
# One that may not even be read is not "none".
chmod 0 repo
expect_exit 1 user "$program" list
expect_says "$T/err" 'permission'
chmod 755 repo
chmod -R u+w repo

# On a file system that is mounted read-only, it is the same.
[ "$(id -u)" = 0 ] || skip "the rest needs root"
export BYRE_CACHE_DIR=$T/cache BYRE_STATE_DIR=$T/state
mkdir mnt
mount --bind repo mnt 2>/dev/null || skip "no bind mounts here"
at_end "umount '$T/mnt'"
mount -o remount,bind,ro "$T/mnt"
expect_exit 0 byre restore mine --repo mnt --to back3
expect_exit 0 byre check --read-data --repo mnt
expect_exit 1 byre backup disk.qcow2 --repo mnt
expect_says "$T/err" 'read-only'
