#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The second reader sees in a repository what the program put there: it verifies all of it, lists the
# same archives, and extracts each image as `byre restore` and qemu-img do.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/cli/lib.sh
. "$here/../cli/lib.sh"
requires qemu-img qemu-io qemu-nbd cmp
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
    # From where the image is, for a data file's name counts from the current folder there.
    (cd "${image%/*}" && qemu-img convert -O raw "${image##*/}" "$T/by-qemu.raw")
    # A raw image of no whole number of sectors: qemu-img fills the last one up.
    truncate -r by-byre.raw by-qemu.raw
    cmp by-reader.raw by-qemu.raw || fail "$1: the reader and qemu-img differ"
}

# same_snapshot NAME IMAGE ARCHIVE ID: and three to what an internal snapshot has.
same_snapshot() {
    local copy=${2%.qcow2}-copy.qcow2 bitmap
    rm -f by-reader.raw by-byre.raw by-qemu.raw
    expect_exit 0 reader extract "$3" --image "$1" --snapshot "$4" -o by-reader.raw
    expect_exit 0 byre restore "name:$3" --image "$1" --snapshot "$4" --format raw --to by-byre.raw
    cmp by-reader.raw by-byre.raw || fail "$1, snapshot $4: the reader and byre restore differ"
    cp "$2" "$copy"
    # qemu-img goes back only where there are no bitmaps.
    for bitmap in $(bitmaps_of "$copy"); do qemu-img bitmap --remove "$copy" "$bitmap"; done
    qemu-img snapshot -a "$4" "$copy"
    qemu-img convert -O raw "$copy" by-qemu.raw
    rm "$copy"
    cmp by-reader.raw by-qemu.raw || fail "$1, snapshot $4: the reader and qemu-img differ"
}

bitmaps_of() {
    qemu-img info --output=json "$1" |
        "$python" -c 'import json, sys
data = json.load(sys.stdin)["format-specific"]["data"]
print(*(bitmap["name"] for bitmap in data.get("bitmaps", [])))'
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

# Internal snapshots over a base, of a disk that grew past it, with bitmaps.
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 snap.qcow2 24M
guest_write snap.qcow2 data 1M
qemu-img snapshot -c one snap.qcow2
io snap.qcow2 'write -P 1 2M 1M' 'write -z 20M 200k' 'discard 1M 64k'
qemu-img snapshot -c two snap.qcow2
qemu-img resize -q snap.qcow2 44M
qemu-img bitmap --add -g 512 snap.qcow2 fine
qemu-img bitmap --add --disable -g 1M snap.qcow2 off
guest_write snap.qcow2 big 40M
qemu-img bitmap --add snap.qcow2 late
# Subclusters, with a snapshot of their own.
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k -b base.qcow2 -F qcow2 extended.qcow2
io extended.qcow2 'write -P 2 66k 3k' 'write -z 5M 12k' 'write -z 5500k 4k' 'write -P 3 21M 700k'
qemu-img snapshot -c one extended.qcow2
io extended.qcow2 'write -P 4 70k 1k' 'write -z 21M 128k' 'write -P 5 39M 5k' 'discard 5M 8k'
qemu-img bitmap --add extended.qcow2 b
# Compressed clusters, of which only a snapshot has some; version 2.
cp deflate.qcow2 frozen.qcow2
qemu-img snapshot -c one frozen.qcow2
io frozen.qcow2 'write -P 6 5M 300k' 'write -z 20M 1M'
qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=512 older.qcow2 300000
guest_write older.qcow2 data 0
qemu-img snapshot -c one older.qcow2
io older.qcow2 'write -P 7 1k 5k'
# What lies in another file, as it comes and in the guest's order.
qemu-img create -q -f qcow2 -o data_file=apart.data -b base.qcow2 -F qcow2 apart.qcow2
io apart.qcow2 'write -P 8 30M 100k' 'write -P 9 3M 1M' 'write -z 5M 64k'
qemu-img create -q -f qcow2 -o data_file=flat.data,data_file_raw=on flat.qcow2 10M
guest_write flat.qcow2 data 5M
qemu-img bitmap --add flat.qcow2 b
# Encrypted, with a snapshot, over one that is not.
luks=(--object 'secret,id=s,data=x')
luks_tool create -q -f qcow2 "${luks[@]}" -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
    -b base.qcow2 -F qcow2 luks.qcow2 8M
guest='driver=qcow2,file.filename=luks.qcow2,encrypt.key-secret=s'
qemu-io "${luks[@]}" --image-opts -c 'write -q -P 1 1M 100k' "$guest"
qemu-img snapshot "${luks[@]}" --image-opts -c one "$guest"
qemu-io "${luks[@]}" --image-opts -c 'write -q -P 2 1M 64k' -c 'write -q -P 3 6M 1M' "$guest"
qemu-img create -q -f qcow2 -u -b luks.qcow2 -F qcow2 over-luks.qcow2 8M
# What others read.
qemu-img convert -f qcow2 -O vmdk base.qcow2 other.vmdk
rm data text big
cd ..
kinds=(disks/{snap,extended,frozen,older,apart,flat}.qcow2)
images=(disks/top.qcow2 disks/deflate.qcow2 disks/zstd.qcow2 disks/over-raw.qcow2 disks/old.qcow2)

expect_exit 0 byre init --reserve 0 --recovery-code-file "$T/code" --id-hash sha256
verified # empty
expect_exit 0 byre backup --name disks --tag one "${images[@]}"
expect_exit 0 byre backup --name raw disks/plain.raw
expect_exit 0 byre backup --name empty disks/empty.qcow2
verified
for image in "${images[@]}"; do same_image "$(basename "$image")" "$image" disks; done
same_image plain.raw disks/plain.raw raw
expect_exit 0 byre backup --name other disks/other.vmdk
qemu-nbd --fork --read-only --socket="$T/nbd" -f vmdk disks/other.vmdk
expect_exit 3 byre backup "nbd+unix:///?socket=$T/nbd" --bitmap-name "$(byre bitmap name)"
verified
same_image other.vmdk disks/other.vmdk other
same_image nbd disks/other.vmdk nbd

# A layer further down, as the guest saw it there.
for layer in 1:middle 2:base; do
    rm -f layer.raw layer-qemu.raw
    expect_exit 0 reader extract disks --image top.qcow2 --layer "${layer%:*}" -o layer.raw
    qemu-img convert -O raw "disks/${layer#*:}.qcow2" layer-qemu.raw
    cmp layer.raw layer-qemu.raw || fail "layer $layer differs"
done

# All else that a qcow2 image may have.
expect_exit 0 byre backup --name kinds "${kinds[@]}" disks/over-luks.qcow2
verified
for image in "${kinds[@]}"; do same_image "$(basename "$image")" "$image" kinds; done
for id in 1 2; do same_snapshot snap.qcow2 disks/snap.qcow2 kinds "$id"; done
for name in extended frozen older; do same_snapshot "$name.qcow2" "disks/$name.qcow2" kinds 1; done
expect_exit 2 reader extract kinds --image snap.qcow2 --snapshot 3 -o none.raw
for layer in 0 1; do
    expect_exit 2 reader extract kinds --image over-luks.qcow2 --layer "$layer" -o none.raw
    expect_says err encrypted
done
expect_missing none.raw
expect_exit 0 reader extract kinds --image over-luks.qcow2 --layer 2 -o layer.raw
qemu-img convert -O raw disks/base.qcow2 layer-qemu.raw
cmp layer.raw layer-qemu.raw || fail "the layer below the encrypted one differs"

# byre's own bitmaps, whose bits are metadata; clusters of 512 bytes make many.
qemu-img create -q -f qcow2 -o cluster_size=512 disks/tracked.qcow2 64M
expect_exit 0 byre backup --bitmap --name tracked disks/snap.qcow2 disks/tracked.qcow2
io disks/tracked.qcow2 'write -P 10 1M 40M'
io disks/snap.qcow2 'write -P 10 1M 64k'
expect_exit 0 byre backup --bitmap --name tracked disks/snap.qcow2 disks/tracked.qcow2
verified

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

# What is forgotten, tagged and freed.
expect_exit 0 byre tag kinds --add kept --add two
expect_exit 0 byre tag tracked --add kept
expect_exit 0 byre forget --group-by host --keep-last 1 --keep-tag kept
expect_exit 0 byre prune --max-unused 0 --no-grace
verified
same_image top.qcow2 disks/top.qcow2 disks
same_image extended.qcow2 disks/extended.qcow2 kinds # that has not changed since
same_image snap.qcow2 disks/snap.qcow2 tracked
expect_exit 0 byre backup --name raw disks/plain.raw
verified

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

# Copies in another repository.
export BYRE_REPOSITORY=$T/copies
expect_exit 0 byre init --reserve 0 --id-hash blake2b
mapfile -t archives < <(byre --repo repo list --json |
    "$python" -c 'import json, sys; print(*(a["id"] for a in json.load(sys.stdin)), sep="\n")')
BYRE_FROM_PASSWORD=$BYRE_PASSWORD expect_exit 0 byre copy --from repo "${archives[@]}"
expect_equal "$(archive_count)" "${#archives[@]}" copies
verified
for image in "${kinds[@]}"; do
    [ "$image" = disks/snap.qcow2 ] || same_image "$(basename "$image")" "$image" kinds
done
same_image top.qcow2 disks/top.qcow2 disks
export BYRE_REPOSITORY=$T/repo

# A log that was damaged and repaired, twice; the second time of the first reset too.
for entries in "9 12" "15 $(find "$BYRE_REPOSITORY/log" -type f | wc -l)"; do
    for entry in $entries; do
        "$python" -c 'import sys; open(sys.argv[1], "r+b").write(b"none")' \
            "$BYRE_REPOSITORY/log/0000000000000/$(printf %03x "$entry")"
    done
    expect_exit 1 reader verify
    expect_exit 0 byre check --repair
    verified
    same_image top.qcow2 disks/top.qcow2 disks
    expect_exit 0 byre backup --name raw disks/plain.raw
    verified
done

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
