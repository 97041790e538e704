#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A file that changes, or is replaced, while it is read: that is noticed, and nothing is committed.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img

random_file disk.raw $((32 << 20)) 31
new_repository

# while_reading COMMAND...: backs disk.raw up through an overlay, runs COMMAND at the first status
# line, and sets ${code}.
while_reading() {
    local pid line acted=false
    rm -f lines
    mkfifo lines
    "$BYRE" --json backup --full-read --compression 19 --threads 1 --name changing top.qcow2 \
        >lines 2>"$T/err" &
    pid=$!
    code=0
    while IFS= read -r line; do
        if [[ $line == *percent_done* ]] && ! $acted; then
            acted=true
            "$@"
        fi
    done <lines
    wait $pid || code=$?
    $acted || fail "the backup was over before anything could happen"
}

# expect_noticed WHAT PATTERN
expect_noticed() {
    expect_equal "$code" 1 "exit code where the file $1"
    expect_says "$T/err" "$2"
    expect_equal "$(archive_count)" 0 "archives where the file $1"
}

replace() { cp disk.raw other.raw && mv other.raw disk.raw; }
grow() { printf more >>disk.raw; }
write_one() { printf x | dd of=disk.raw bs=1 seek=31000000 conv=notrunc status=none; }
remove() { mv disk.raw gone.raw; }

qemu-img create -q -f qcow2 -b disk.raw -F raw top.qcow2
while_reading replace
expect_noticed 'is replaced' 'disk.raw.*(replaced|changed)'
random_file disk.raw $((32 << 20)) 32
while_reading grow
expect_noticed grows 'disk.raw.*changed'
random_file disk.raw $((32 << 20)) 33
while_reading write_one
expect_noticed 'is written to' 'disk.raw.*changed'
random_file disk.raw $((32 << 20)) 34
while_reading remove
expect_noticed 'goes away' 'disk.raw.*(went away|changed)'

mv gone.raw disk.raw
expect_exit 0 byre backup --name changing top.qcow2
expect_exit 0 byre restore changing --format raw --to back.raw
cmp disk.raw back.raw || fail "the archive is not the disk"
