#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Bad input: a clear error, exit 1, no archive, nothing left behind.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 131072 19
qemu-img create -q -f qcow2 good.qcow2 4M
guest_write good.qcow2 data 1M
new_repository
fast_key

# refused PATTERN IMAGE...: with the reason, and the repository is as before.
refused() {
    local pattern=$1
    shift
    expect_exit 1 timeout 60 "$BYRE" backup "$@"
    expect_says "$T/err" "$pattern"
    expect_silent "$T/out"
    expect_equal "$(archive_count)" 0 "archives after $*"
    nothing_left
}
# poke FILE OFFSET HEX: bytes in a file.
poke() { printf '%b' "$(printf %s "$3" | sed 's/../\\x&/g')" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# What is no qcow2 is raw, unless its name says otherwise; what starts like one is one.
echo 'no disk at all' >text.qcow2
refused 'text.qcow2.*is none' text.qcow2
cp text.qcow2 text.img
expect_exit 0 byre backup --dry-run text.img
for magic in '' 00000002 00000003 00000004 ffffffff; do
    poke garbage.qcow2 0 "514649fb$magic"
    refused 'garbage.qcow2' garbage.qcow2
    head -c 100000 /dev/zero | tr '\0' '\377' >>garbage.qcow2
    refused 'garbage.qcow2' garbage.qcow2
    rm garbage.qcow2
done
{ printf 'QFI\xfb\0\0\0\3'; cat data; } >garbage.qcow2
refused 'garbage.qcow2' garbage.qcow2

# Truncated at every structure.
for size in 50 103 1000 65536 131072 200000 262144 300000; do
    head -c $size good.qcow2 >short.qcow2
    refused 'short.qcow2' short.qcow2
done
# In a chain, it is named.
qemu-img create -q -f qcow2 -b good.qcow2 -F qcow2 over.qcow2
cp good.qcow2 whole.qcow2
head -c 300000 whole.qcow2 >good.qcow2
refused 'good.qcow2' over.qcow2
cp whole.qcow2 good.qcow2

# Missing, or not to be had.
refused 'no-such.qcow2' no-such.qcow2
refused 'no-such.qcow2' good.qcow2 no-such.qcow2
qemu-img create -q -f qcow2 -b good.qcow2 -F qcow2 orphan.qcow2
qemu-img rebase -u -f qcow2 -b gone/base.qcow2 -F qcow2 orphan.qcow2
refused 'gone/base.qcow2' orphan.qcow2
mkdir folder
refused 'folder' folder
refused 'null' /dev/null
mkfifo pipe
refused 'pipe' pipe
ln -s nowhere link.qcow2
refused 'link.qcow2' link.qcow2
expect_exit 2 byre backup ''
: >empty.raw
byre backup --dry-run empty.raw >"$T/out" 2>"$T/err" || expect_says "$T/err" 'empty'

# Loops.
qemu-img create -q -f qcow2 a.qcow2 1M
qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 b.qcow2
qemu-img rebase -u -f qcow2 -b b.qcow2 -F qcow2 a.qcow2
refused 'loop|circle|itself|cycl' a.qcow2
refused 'loop|circle|itself|cycl' b.qcow2
qemu-img create -q -f qcow2 self.qcow2 1M
qemu-img rebase -u -f qcow2 -b self.qcow2 -F qcow2 self.qcow2
refused 'loop|circle|itself|cycl' self.qcow2
ln self.qcow2 hard.qcow2
refused 'loop|circle|itself|cycl' hard.qcow2

# Structures that cannot be: table offsets, sizes, bits.
bad() { # bad WHAT OFFSET HEX
    cp whole.qcow2 bad.qcow2
    poke bad.qcow2 "$2" "$3"
    refused 'bad.qcow2' bad.qcow2
}
bad 'cluster bits 0' 20 00000000
bad 'cluster bits 8' 20 00000008
bad 'cluster bits 22' 20 00000016
bad 'cluster bits 255' 20 000000ff
bad 'a huge size' 24 7fffffffffffffff
bad 'a negative size' 24 ffffffffffffffff
bad 'an L1 of 2^32 entries' 36 ffffffff
bad 'an L1 that is too small' 36 00000000
bad 'an L1 far away' 40 0000ffffffff0000
bad 'an L1 between clusters' 40 0000000000030001
bad 'an unknown incompatible bit' 72 0000000000000100
bad 'header length 0' 100 00000000
bad 'header length 4 GiB' 100 ffffffff
bad 'an L2 outside' 196608 8000000ffff00000
bad 'an L2 between clusters' 196608 8000000000040200
bad 'a data cluster outside' 262272 800000ffffff0000
bad 'a data cluster between clusters' 262272 8000000000050200
bad 'a compressed cluster outside' 262272 4fffffffffffffff
bad 'a compressed cluster of garbage' 262272 4000000000050000
bad 'a backing name past the header' 8 000000000001000000000010
bad 'a backing name of 2000 bytes' 8 0000000000000200000007d0
bad 'refcount order 7' 96 00000007
bad 'an encryption that is not known' 32 00000009

# One bad image of many: no archive at all.
refused 'bad.qcow2' good.qcow2 bad.qcow2

# An image that QEMU marked corrupt, or dirty.
cp whole.qcow2 corrupt.qcow2
poke corrupt.qcow2 72 0000000000000002
refused 'corrupt' corrupt.qcow2
cp whole.qcow2 dirty.qcow2
poke dirty.qcow2 72 0000000000000001
expect_exit 0 byre backup --name dirty dirty.qcow2
expect_exit 0 byre restore dirty --to dirty-back
clean_qcow2 dirty-back/dirty.qcow2
same_content whole.qcow2 dirty-back/dirty.qcow2 qcow2 qcow2

# After all that the repository is sound.
expect_exit 0 byre check --read-data
nothing_left
