#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The second reader sees in a repository what the program put there: it verifies all of it, lists the
# same archives, and extracts each image as `byre restore` and qemu-img do.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/cli/lib.sh
. "$here/../cli/lib.sh"
requires qemu-img qemu-io cmp
# Debian's own, for whose packages are the cryptography and the decompression.
python=/usr/bin/python3
if ! "$python" -c 'import cryptography, nacl, zstandard' 2>import; then
    [ -z "${CI:-}" ] || fail "the second reader cannot run: $(tail -n 1 import)"
    skip "the second reader cannot run: $(tail -n 1 import)"
fi

secret=(--passphrase-file "$T/passphrase")
printf '%s\n' "$BYRE_PASSWORD" >passphrase
reader() { "$python" -B "$here/byre_reader.py" "$BYRE_REPOSITORY" "${secret[@]}" "$@"; }

# same_image NAME IMAGE ARCHIVE: three ways to one raw image.
same_image() {
    local image=$2
    rm -f by-reader.raw by-byre.raw by-qemu.raw
    expect_exit 0 reader extract "$3" --image "$1" -o by-reader.raw
    expect_exit 0 byre restore "name:$3" --image "$1" --format raw --to by-byre.raw
    cmp by-reader.raw by-byre.raw || fail "$1: the reader and byre restore differ"
    qemu-img convert -O raw "$image" by-qemu.raw
    # A raw image of no whole number of sectors: qemu-img fills the last one up.
    truncate -r by-byre.raw by-qemu.raw
    cmp by-reader.raw by-qemu.raw || fail "$1: the reader and qemu-img differ"
}

# verified: everything that the document demands.
verified() { expect_exit 0 reader verify; }

mkdir disks
cd disks
random_file data 262144 1
yes 'a line that compresses well' | head -c 1M >text || true
random_file big 3145728 2

# A chain: plain clusters, then small ones with zeros in all their forms, then a longer top.
qemu-img create -q -f qcow2 base.qcow2 40M
guest_write base.qcow2 data 64K
guest_write base.qcow2 text 5M
guest_write base.qcow2 big 20M
qemu-img create -q -f qcow2 -o cluster_size=4K -b base.qcow2 -F qcow2 middle.qcow2
guest_write middle.qcow2 data 1M
io middle.qcow2 'write -z 5M 100k' 'write -z -u 21M 64k' 'write -P 0 22M 300k' 'discard 1M 32k'
qemu-img create -q -f qcow2 -o cluster_size=1M -b middle.qcow2 -F qcow2 top.qcow2 48M
io top.qcow2 'write -P 7 2M 2k' 'write -z 20M 4k' 'write -P 9 47M 512'

# Compressed, both ways; another on a raw base; a raw disk of an odd size with holes.
qemu-img convert -q -O qcow2 -c base.qcow2 deflate.qcow2
qemu-img convert -q -O qcow2 -c -o compression_type=zstd,cluster_size=16K base.qcow2 zstd.qcow2
truncate -s 9000001 plain.raw
dd if=data of=plain.raw bs=64k seek=30 conv=notrunc status=none
printf end | dd of=plain.raw bs=1 seek=8999998 conv=notrunc status=none
qemu-img create -q -f qcow2 -b plain.raw -F raw over-raw.qcow2
guest_write over-raw.qcow2 data 3M
qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=512 old.qcow2 300000
guest_write old.qcow2 data 0
qemu-img create -q -f qcow2 empty.qcow2 1T
rm data text big
cd ..
images=(disks/top.qcow2 disks/deflate.qcow2 disks/zstd.qcow2 disks/over-raw.qcow2 disks/old.qcow2)

expect_exit 0 byre init --reserve 0 --recovery-code-file "$T/code"
verified # empty
expect_exit 0 byre backup --name disks --tag one "${images[@]}"
expect_exit 0 byre backup --name raw disks/plain.raw
expect_exit 0 byre backup --name empty disks/empty.qcow2
verified
for image in "${images[@]}"; do same_image "$(basename "$image")" "$image" disks; done
same_image plain.raw disks/plain.raw raw

# A layer further down, as the guest saw it there.
for layer in 1:middle 2:base; do
    rm -f layer.raw layer-qemu.raw
    expect_exit 0 reader extract disks --image top.qcow2 --layer "${layer%:*}" -o layer.raw
    qemu-img convert -O raw "disks/${layer#*:}.qcow2" layer-qemu.raw
    cmp layer.raw layer-qemu.raw || fail "layer $layer differs"
done

# More runs: with changes, with other keys, after a key was removed with its epoch.
io disks/top.qcow2 'write -P 11 10M 3M'
head -c 64 /dev/urandom >key
expect_exit 0 byre backup --name disks "${images[@]}"
expect_exit 0 byre key add --role append --new-key-file key
expect_exit 0 byre --key-file key backup --name disks "${images[@]}"
expect_exit 0 byre key list --json
id=$(json '[k for k in d if k["role"] == "append"][0]["id"]')
expect_exit 0 byre key remove --new-epoch "$id"
io disks/top.qcow2 'write -P 12 14M 1M'
expect_exit 0 byre backup --name disks "${images[@]}"
verified
same_image top.qcow2 disks/top.qcow2 disks

# What is listed.
expect_exit 0 byre list --json
cp out by-byre.json
expect_exit 0 reader list --json
"$python" - by-byre.json out <<'END' || fail "the lists differ"
import json, sys
byre, reader = (json.load(open(name, encoding="utf-8")) for name in sys.argv[1:])
for a, b in zip(byre, reader, strict=True):
    for key in ("id", "name", "host", "time", "tags", "bytes_stored"):
        if str(a[key]) != str(b[key]):
            sys.exit(f"{key}: {a[key]!r} and {b[key]!r}")
END

# The recovery code opens it too; the removed key and a wrong passphrase do not.
secret=(--recovery-code-file "$T/code")
verified
secret=(--key-file "$T/key")
expect_exit 2 reader list
echo wrong >wrong
secret=(--passphrase-file "$T/wrong")
expect_exit 2 reader list
secret=(--passphrase-file "$T/passphrase")

# Both see a byte that was flipped in a pack.
pack=$(find "$BYRE_REPOSITORY/packs" -type f -size +8k | sort | head -n 1)
"$python" - "$pack" <<'END'
import os, sys
with open(sys.argv[1], "r+b") as file:
    at = os.fstat(file.fileno()).st_size // 2
    file.seek(at)
    byte = file.read(1)[0]
    file.seek(at)
    file.write(bytes([byte ^ 1]))
END
expect_exit 1 reader verify
expect_exit 4 byre check --read-data
