#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A running machine is backed up: the archive holds its disks as they were at one moment, and the
# machine goes on with all that it wrote, on its own files, as if nothing had been.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091 source=tests/cli/live.sh
. "$(dirname "$0")/live.sh"
requires qemu-storage-daemon qemu-img qemu-io python3

new_repository
fast_key
random_file noise $((8 << 20)) 67

# A chain with an internal snapshot, and a raw disk.
qemu-img create -q -f qcow2 base.qcow2 64M
guest_write base.qcow2 noise 0
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 root.qcow2
io root.qcow2 'write -P 1 3M 2M'
qemu-img snapshot -c before root.qcow2
io root.qcow2 'write -P 2 4M 2M' 'write -z 6M 1M' 'discard 20M 1M'
cp noise data.raw
truncate -s 32M data.raw
machine root=root.qcow2 data=data.raw
guest root 'write -P 3 30M 1M'
guest data 'write -P 4 10M 1M'

# What is written meanwhile is not in the archive, and not lost.
guest_copy root at-freeze-root
guest_copy data at-freeze-data
held
expect_equal "$(find . -name '*.byre-live' | sort | xargs)" './data.raw.byre-live ./root.qcow2.byre-live'
guest root 'write -P 5 0 1M' 'write -P 6 31M 1M' 'discard 3M 1M'
guest data 'write -P 7 10M 512' 'write -z 0 64k'
guest_copy root later-root
guest_copy data later-data
# Nobody may begin another one meanwhile, and an overlay is no disk.
expect_exit 2 byre backup root.qcow2.byre-live
expect_says err 'temporary overlay of a live backup'
expect_exit 11 byre backup --qmp qmp.sock
expect_exit 3 byre backup --name beside data.raw
expect_says err 'data.raw: the temporary overlay of a live backup lies beside it'
released
expect_json 'd["disks"] == 2 and d["overlay_bytes"] > 0 and 0 < d["pause_seconds"] < 10'
expect_json 'd["layers_total"] == 3'
back_on root=root.qcow2 data=data.raw
guest_copy root now-root
guest_copy data now-data
cmp later-root now-root
cmp later-data now-data
expect_exit 0 byre restore latest --to restored
same_content restored/root.qcow2 at-freeze-root qcow2 raw
cmp restored/data.raw at-freeze-data
clean_qcow2 restored/root.qcow2
expect_equal "$(qemu-img snapshot -l restored/root.qcow2 | grep -c before)" 1 'snapshots restored'

# The next one reads little more than what was written, by the machine or by the way back.
expect_exit 0 byre --json backup --qmp qmp.sock
expect_exit 0 byre --json backup --qmp qmp.sock
guest root 'write -P 8 40M 640k'
# nor is a node in the way that could not be taken away at the end of an earlier one
qmp '""' blockdev-add '{"node-name": "byre-live-0", "driver": "null-co"}' >/dev/null
expect_exit 0 byre --json backup --qmp qmp.sock --disk root
expect_json 'd["layers_total"] == 2 and 655360 <= d["bytes_read"] <= 983040'
guest_copy root now-root
expect_exit 0 byre restore latest --to again
same_content again/root.qcow2 now-root qcow2 raw
back_on root=root.qcow2 data=data.raw

# One bitmap stays in the image, for the next time; others' are not touched.
qmp '""' block-dirty-bitmap-add '{"node": "root", "name": "theirs", "persistent": true}' >/dev/null
expect_exit 0 byre backup --qmp qmp.sock
shut_down
qemu-img info --output=json root.qcow2 >info.json
python3 -c '
import json
names = [b["name"][:5] for b in json.load(open("info.json"))["format-specific"]["data"]["bitmaps"]]
assert sorted(names) == ["byre-", "their"], names' || fail 'bitmaps left in the image'
clean_qcow2 root.qcow2
expect_exit 0 byre --json backup root.qcow2
expect_json 'd["bytes_read"] == 0'
