#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What stats says adds up: with the files of the repository, with what was written to the disks, and
# with what becomes of one archive where there are others.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3
new_repository
fast_key

files_size() { find "$@" -type f -printf '%s\n' | awk '{n += $1} END {print n + 0}'; }
# all_files: what stats says of the repository is the size of its files.
all_files() {
    expect_exit 0 byre stats --json
    expect_json "d['bytes_stored'] + d['bytes_unneeded'] == $(files_size repo/packs)"
    expect_json "d['bytes_stored'] == d['bytes_stored_data'] + d['bytes_stored_metadata']"
    expect_json "d['bytes_index'] == $(files_size repo/segments)"
    expect_json "d['packs'] == $(find repo/packs -type f | wc -l)"
}

# Nothing yet.
all_files
expect_json "d['archives'] == 0 and d['bytes_unique'] == 0 and d['ratio'] is None"
expect_exit 0 byre stats
expect_says "$T/out" '^0 archives, 0 packs'
expect_exit 1 byre stats latest

# Noise does not compress, and zeros are no data.
random_file data 4194304 91
random_file other 1048576 92
qemu-img create -q -f qcow2 base.qcow2 1G
guest_write base.qcow2 data 8M
io base.qcow2 'write -z 600M 10M'
expect_exit 0 byre backup --json --name one base.qcow2
new=$(json 'd["bytes_new"]')
chunks=$(json 'd["chunks_new"]')
all_files
expect_json "d['bytes_unneeded'] == 0 and d['archives'] == 1 and d['images'] == 1"
expect_json "d['bytes_virtual'] == 1 << 30 and d['bytes_allocated'] == 4 << 20"
expect_json "d['bytes_unique'] == $new and d['chunks'] == $chunks"
expect_json "4 << 20 <= d['bytes_unique'] and 4 << 20 <= d['bytes_stored_data'] < 5 << 20"
expect_json "0.9 < d['ratio'] <= 1 and 0.9 < d['ratio_compression'] < 1.1"

# The same once more, and another one that has all of it and 1 MiB, in a chain of two layers.
cp base.qcow2 again.qcow2
expect_exit 0 byre backup --name two again.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
guest_write top.qcow2 other 100M
qemu-img snapshot -c s top.qcow2
expect_exit 0 byre backup --json --name three top.qcow2 again.qcow2 --with data
more=$(json 'd["bytes_new"]')
all_files
expect_json "d['archives'] == 3 and d['images'] == 4 and d['bytes_virtual'] == 4 << 30"
expect_json "d['bytes_allocated'] == 17 << 20 and d['bytes_unique'] == $((new + more))"
expect_json "d['bytes_unneeded'] == 0 and d['ratio'] > 1.5 and d['ratio_deduplication'] > 1.5"
whole=$(json "d['bytes_stored']")

# Of one archive: its own parts, and those of no other one.
expect_exit 0 byre stats --json two
expect_json "d['name'] == 'two' and d['images'] == 1 and d['bytes_allocated'] == 4 << 20"
expect_json "d['bytes_unique'] == $new and d['bytes_unique_alone'] == 0 and d['chunks_alone'] == 0"
expect_json "0 < d['bytes_stored_alone'] < 20000"
expect_exit 0 byre stats --json three
expect_json "d['bytes_unique_alone'] == $more and d['bytes_unique'] == $((new + more))"
expect_json "1 << 20 < d['bytes_stored_alone'] < d['bytes_stored'] <= $whole"
expect_json "d['chunks_alone'] > 0 and d['bytes_virtual'] == 2 << 30"
expect_exit 0 byre stats three
expect_says "$T/out" '^unique to it'

# What an archive alone has is what nobody needs when it is forgotten, and what a prune frees.
expect_exit 0 byre stats --json three
alone=$(json "d['bytes_stored_alone']")
expect_exit 0 byre forget three
all_files
expect_json "d['archives'] == 2 and d['bytes_unique'] == $new and d['bytes_unneeded'] == $alone"
expect_exit 0 byre prune --max-unused 0 --no-grace
all_files
expect_json "d['bytes_unneeded'] < 20000 and d['bytes_unique'] == $new"

# Any role may ask; damage is told.
(umask 077 && head -c 64 /dev/urandom >append.key)
expect_exit 0 byre key add --role append --new-key-file "$T/append.key"
BYRE_KEY_FILE=$T/append.key expect_exit 0 byre stats --json
expect_json "d['archives'] == 2"
find repo/packs -type f -printf '%s %p\n' | sort -n | head -n 1 | cut -d ' ' -f 2 | xargs rm
rm -rf cache
expect_exit 4 byre stats
