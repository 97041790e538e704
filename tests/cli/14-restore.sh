#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Restore writes to folders, files, devices and stdout, and overwrites nothing unasked.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 262144 10
qemu-img create -q -f qcow2 -o compression_type=zstd base.qcow2 16M
guest_write base.qcow2 data 3M
io base.qcow2 'write -c -P 3 6M 64k' 'write -P 1 15M 1M'
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o cluster_size=16k,compression_type=zstd top.qcow2 17M
guest_write top.qcow2 data 3100K
io top.qcow2 'write -z 15M 512k' 'write -c -P 4 8M 16k' 'write -P 2 16M 64k'
cp top.qcow2 second.qcow2
io second.qcow2 'write -P 99 0 64k'
new_repository
expect_exit 0 byre backup --name vm top.qcow2 second.qcow2
qemu-img convert -f qcow2 -O raw top.qcow2 want.raw

# --to a folder that exists, or not.
expect_exit 0 byre restore vm --to new --verify
mkdir there
expect_exit 0 byre restore vm --to there/
expect_equal "$(ls new)" "$(ls there)" "what goes into a folder"

# What exists stays, and nothing else appears beside it.
mkdir half
echo mine >half/top.qcow2
expect_exit 1 byre restore vm --to half
expect_says "$T/err" 'top.qcow2.*(exist|--force)'
expect_equal "$(cat half/top.qcow2)" mine "a file that was there"
expect_equal "$(ls half)" top.qcow2 "what a refused restore leaves"
expect_exit 0 byre restore vm --to half --force
same_layer top.qcow2 half/top.qcow2
expect_equal "$(find half -mindepth 1 | wc -l)" 3 "files after --force"
# Not even through a symbolic link that leads nowhere.
mkdir dangling
ln -s "$T/elsewhere" dangling/top.qcow2
expect_exit 1 byre restore vm --to dangling
expect_missing elsewhere
expect_exit 1 byre restore vm --image top.qcow2 --format raw --to dangling/top.qcow2
expect_missing elsewhere

# Flattened, to a file, without and with --image.
expect_exit 0 byre restore vm --image top.qcow2 --flatten --to flat.qcow2 --json
expect_json 'len(d["files"]) == 1 and d["files"][0]["path"] == "flat.qcow2"'
same_content top.qcow2 flat.qcow2 qcow2 qcow2
clean_qcow2 flat.qcow2
qemu-img info flat.qcow2 >facts
! grep -q '^backing file' facts || fail "a flattened image has a backing file"
expect_equal "$(qemu-img info flat.qcow2 | grep -E '^cluster_size|compat:|compression type' | tr -s ' \n' ' ')" \
    'cluster_size: 16384 compat: 1.1 compression type: zstd ' "what flattening keeps of the top"
expect_exit 0 byre restore vm --image top.qcow2 --flatten --format qcow2 --to flat2.qcow2
cmp flat.qcow2 flat2.qcow2 || fail "flattening twice gives two results"
# Two images do not fit in one file.
echo file >one
expect_exit 2 byre restore vm --flatten --to one --force
expect_equal "$(cat one)" file "a file that two images cannot go to"
mkdir flats
expect_exit 0 byre restore vm --flatten --to flats
same_content top.qcow2 flats/top.qcow2 qcow2 qcow2
same_content second.qcow2 flats/second.qcow2 qcow2 qcow2
expect_equal "$(find flats -mindepth 1 | wc -l)" 2 "files of two flattened images"
expect_exit 1 byre restore vm --flatten --image top.qcow2 --to flats
expect_exit 0 byre restore vm --flatten --image top.qcow2 --to flats --force

# Raw: to a file, and to stdout.
expect_exit 0 byre restore vm --image top.qcow2 --format raw --to got.raw --verify
cmp want.raw got.raw || fail "a raw file"
[ "$(du -k got.raw | cut -f1)" -lt 8192 ] || fail "the raw file is not sparse"
expect_exit 1 byre restore vm --image top.qcow2 --format raw --to got.raw
echo long tail >>got.raw
expect_exit 0 byre restore vm --image top.qcow2 --format raw --to got.raw --force
cmp want.raw got.raw || fail "a raw file that replaced a longer one"
byre restore vm --image top.qcow2 --format raw --to - 2>"$T/err" | cmp - want.raw || fail "raw to stdout"
byre restore vm --image top.qcow2 --format raw --to - --json 2>"$T/err" | cmp - want.raw || fail "raw to stdout, with --json"
expect_exit 2 byre restore vm --image top.qcow2 --flatten --to -
expect_exit 2 byre restore vm --image top.qcow2 --to -
byre restore vm --format raw --to - >"$T/out" 2>"$T/err" && fail "two images went to one stdout"
expect_silent "$T/out"
# shellcheck disable=SC2016
expect_exit 1 bash -c '"$BYRE" restore vm --image top.qcow2 --format raw --to - >/dev/full'

# Where there is no way.
expect_exit 1 byre restore vm --to /proc/no/such/place
expect_exit 1 byre restore vm --image no-such --to nothing
expect_missing nothing
expect_exit 2 byre restore vm
expect_exit 2 byre restore vm --to x --format nonsense
expect_exit 2 byre restore --to x
echo file >plain
expect_exit 1 byre restore vm --to plain
expect_equal "$(cat plain)" file "a file where a folder is wanted"
expect_exit 1 byre restore vm --to plain/below

# A file that a machine uses is not overwritten even with --force.
coproc IO { qemu-io -f raw got.raw; }
# shellcheck disable=SC2153
io_pid=$IO_PID
echo 'length' >&"${IO[1]}"
read -r _ <&"${IO[0]}"
expect_exit 11 byre restore vm --image top.qcow2 --format raw --to got.raw --force
echo quit >&"${IO[1]}"
wait "$io_pid" || true
cmp want.raw got.raw || fail "a file in use was written to"

# Folders in which a restore failed hold no temporary files.
expect_equal "$(find . -path ./repo -prune -o -path ./cache -prune -o -path ./state -prune -o \
    \( -name '*tmp*' -o -name '.*.*' \) -print | grep -v '^\.$' || true)" '' "temporary files"
