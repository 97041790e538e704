#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The benchmark measures every primitive and every run, and leaves nothing behind.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io
unset BYRE_REPOSITORY BYRE_PASSWORD

random_file data 3145728 1
qemu-img create -q -f qcow2 disk.qcow2 64M
guest_write disk.qcow2 data 1M
guest_write disk.qcow2 data 30M
fingerprint disk.qcow2 >before
mkdir place
expect_exit 0 byre benchmark --dir place --threads 2 --compression 1 --json disk.qcow2
expect_json '[l["name"] for l in d["primitives"] if not l["name"].startswith("identify by ")] == ["cut", "identify", "fingerprint", "compress", "seal", "checksum", "open", "expand"]'
# The other function for ids is measured too.
expect_json 'sorted([d["id_hash"]] + [l["name"][12:] for l in d["primitives"] if " by " in l["name"]]) == ["blake2b", "sha256"]'
expect_json '[l["name"] for l in d["runs"]] == ["first backup", "again", "again, all is read", "restore"]'
expect_json 'min(min(l["bytes"], l["bytes_per_second"]) for l in d["primitives"] + d["runs"]) > 0'
expect_json 'd["runs"][0]["bytes"] == 2 * 3145728 and d["share"] > 0'
expect_empty_folder place
fingerprint disk.qcow2 | cmp - before || fail "the image is touched"
expect_exit 1 byre benchmark --dir no-such-folder disk.qcow2
expect_exit 1 byre benchmark --dir place no-such-image
expect_empty_folder place
# A signal leaves nothing either.
"$BYRE" benchmark --dir place disk.qcow2 >"$T/out" 2>"$T/err" &
pid=$!
until grep -q identify "$T/out"; do kill -0 $pid || fail "it ended: $(cat "$T/err")"; done
kill -INT $pid
code=0
wait $pid || code=$?
expect_equal $code 130
expect_empty_folder place
