#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# scripts/bench.py goes through all of its rows, tells what it measured, and leaves nothing behind.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3
if sanitized; then skip "a sanitizer's times are of no use"; fi
scripts=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../scripts")

# Disks such as make-disks.sh makes, but small.
mkdir -p disks/day1 disks/day2 disks/load place
seed=84
for name in base web db more; do random_file $name 6291456 $((++seed)); done
cd disks/day1
qemu-img create -q -f qcow2 base.qcow2 32M
guest_write base.qcow2 ../../base 1M
for name in web db; do
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 $name.qcow2
    guest_write $name.qcow2 ../../$name 16M
done
cp web.qcow2 ../day2/web.qcow2
qemu-img rebase -u -f qcow2 -b ../day1/base.qcow2 -F qcow2 ../day2/web.qcow2
guest_write ../day2/web.qcow2 ../../more 16M
cd ../..
head -c 131072 more >disks/load/data
printf '%s\n' '17825792 0 65536' '20971520 65536 65536' >disks/load/commands
fingerprint disks/*/* >before

bench=(python3 "$scripts/bench.py" --byre "$BYRE" --disks disks --work place)
# Whether the aims are reached is not asked of disks like these.
"${bench[@]}" --tools byre --rounds 1 --json result >out 2>err || [ -s result ] || fail "bench: $(cat err)"
expect_empty_folder place
for text in 'first backup of base' 'check of all data' 'but the newest pruned' 'deriving the key' 'CPU seconds' 'peak memory'; do
    expect_says out "$text"
done
tr -d '\n' <result >line
expect_json 'set(d["rows"]) == {"first", "again", "touched", "full-read", "db", "bitmap", "restore", "check", "prune",
    "size1", "size2", "size3", "copy", "limit"}' line
expect_json 'd["rows"]["size1"]["rounds"]["byre"][0] > 18 << 20' line
expect_json 'min(m["peak_bytes"] for r in ("first", "db", "bitmap", "restore", "check", "prune")
    for m in d["rows"][r]["rounds"]["byre"]) > 1 << 20' line
expect_json 'd["rows"]["limit"]["ratio"] > 0' line
# What was freed is what only the first day had of web.
expect_json '2 << 20 < d["rows"]["size2"]["rounds"]["byre"][0] - d["rows"]["size3"]["rounds"]["byre"][0] < 7 << 20' line
fingerprint disks/*/* | cmp - before || fail "the disks are touched"

# Stopped, it leaves nothing either.
"${bench[@]}" --tools byre >out 2>err &
pid=$!
until [ -n "$(find place -path '*/byre/repo/packs/*')" ]; do kill -0 $pid || fail "it ended: $(cat err)"; done
kill -TERM $pid
code=0
wait $pid || code=$?
expect_equal $code 143
expect_empty_folder place
mv disks/day2/web.qcow2 web-of-day-two
expect_exit 1 "${bench[@]}" --tools byre first
expect_says err 'day2/web.qcow2 is missing: make-disks.sh'
expect_exit 2 "${bench[@]}" --tools restic first
