#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A repository that went back in time is told from one that did not.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 65536 17
qemu-img create -q -f qcow2 disk.qcow2 4M
guest_write disk.qcow2 data 1M
new_repository
expect_exit 0 byre backup --name one disk.qcow2
cp -a repo older
guest_write disk.qcow2 data 2M
expect_exit 0 byre backup --name two disk.qcow2
expect_exit 0 byre list
expect_silent "$T/err"

mv repo newer
cp -a older repo
for command in list 'show one'; do
    # shellcheck disable=SC2086
    expect_exit 0 byre $command
    expect_says "$T/err" 'warning.*(older|roll|back)'
done
expect_exit 0 byre list --json
expect_json 'len(d) == 1'
expect_exit 0 byre restore one --to back
expect_says "$T/err" 'warning.*(older|roll|back)'
expect_exit 4 byre backup --name three disk.qcow2
expect_says "$T/err" 'accept-rollback'
expect_exit 4 byre check
expect_exit 4 byre check --read-data --json
expect_json 'd["message_type"] == "summary" and d["errors"] > 0'
expect_equal "$(archive_count 2>/dev/null)" 1 "archives after a backup that was refused"

# With the newer one in place again there is nothing to settle.
mv repo older2
cp -a newer repo
expect_exit 0 byre check
expect_exit 0 byre list
expect_silent "$T/err"
rm -r repo
mv older2 repo
expect_exit 4 byre check

# Settled, it works on; and now the newer one is the strange one.
expect_exit 0 byre check --accept-rollback
expect_exit 0 byre check
expect_exit 0 byre list
expect_silent "$T/err"
expect_exit 0 byre backup --name three disk.qcow2
expect_exit 0 byre restore three --to back3
same_layer disk.qcow2 back3/disk.qcow2
expect_exit 0 byre check --read-data
mv repo forked
cp -a newer repo
byre backup --name four disk.qcow2 >"$T/out" 2>"$T/err" && fail "a forked log was taken for a continued one"

# Another machine never saw anything, and has nothing to say.
rm -r repo
cp -a older repo
expect_exit 0 byre check --state-dir state2 --cache-dir cache2
expect_exit 0 byre list --state-dir state2
expect_silent "$T/err"

# Another repository under the same path is another one, not an older one.
rm -r repo
new_repository
expect_exit 0 byre check
expect_exit 0 byre backup disk.qcow2
