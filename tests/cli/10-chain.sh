#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A chain goes in and comes back: every layer as it was, at the same host offsets.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file r1 1048576 1
random_file r2 524288 2
random_file r3 131072 3
qemu-img create -q -f qcow2 base.qcow2 40M
guest_write base.qcow2 r1 0
guest_write base.qcow2 r2 30M
io base.qcow2 'write -P 17 5M 1M' 'write -z 8M 1M' 'discard 5M 128k'
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2 48M
guest_write middle.qcow2 r3 512K
io middle.qcow2 'write -z 0 64k' 'write -z 30M 100k' 'write -P 3 47M 1M' 'write -c -P 9 20M 64k'
qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 -o cluster_size=4k top.qcow2
guest_write top.qcow2 r3 31M
io top.qcow2 'write -P 1 0 512' 'write -z 47M 40k'
chmod 640 middle.qcow2
touch -d '2001-02-03 04:05:06.123456789' base.qcow2
fingerprint base.qcow2 middle.qcow2 top.qcow2 >before

new_repository
expect_exit 0 byre backup --json top.qcow2
id=$(json 'd["archive"]')
expect_json 'd["message_type"] == "summary" and d["name"] == "top" and d["parent"] is None'
expect_json 'd["layers_total"] == 3 and d["layers_unchanged"] == 0'
expect_json '0 < d["bytes_new"] <= d["bytes_allocated"] and d["bytes_stored"] > 0'
fingerprint base.qcow2 middle.qcow2 top.qcow2 | cmp - before || fail "a backup changed its sources"
nothing_left

expect_exit 0 byre restore "$id" --to back --json
expect_json 'len(d["files"]) == 3 and d["message_type"] == "summary"'
expect_json 'sorted(f["path"] for f in d["files"]) == ["back/base.qcow2", "back/middle.qcow2", "back/top.qcow2"]'
for layer in base middle top; do
    same_layer "$layer.qcow2" "back/$layer.qcow2"
    expect_equal "$(stat -c '%a %y %u %g' "back/$layer.qcow2")" "$(stat -c '%a %y %u %g' "$layer.qcow2")" \
        "mode, time and owner of $layer"
done
same_content top.qcow2 back/top.qcow2 qcow2 qcow2
expect_equal "$(find back -mindepth 1 | wc -l)" 3 "files in the restored folder"

# The restored chain stands alone: without the sources it still works.
mkdir elsewhere
mv base.qcow2 middle.qcow2 top.qcow2 elsewhere
same_content elsewhere/top.qcow2 back/top.qcow2 qcow2 qcow2
fingerprint elsewhere/*.qcow2 >/dev/null

# A backup of the restored chain stores no data again, only headers whose tables have moved.
expect_exit 0 byre backup --json back/top.qcow2
expect_json 'd["bytes_new"] <= 2 * 65536 + 4096 and d["chunks_new"] <= 3'

# And a repeated one stores nothing but its own few records.
expect_exit 0 byre backup --json back/top.qcow2
expect_json 'd["bytes_new"] == 0 and d["chunks_new"] == 0 and d["bytes_stored"] < 16384'
expect_exit 0 byre check --read-data --json
expect_json 'd["errors"] == 0 and d["damaged_archives"] == [] and d["bytes_checked"] > 1 << 20'

# What is said to be stored is what the repository grew by.
used() { find repo -type f -printf '%s\n' | awk '{n += $1} END {print n}'; }
size=$(used)
guest_write back/base.qcow2 r2 12M
expect_exit 0 byre backup --json back/top.qcow2
expect_equal "$(json 'd["bytes_stored"]')" $(($(used) - size)) "bytes_stored against the repository's growth"
