#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Raw bases, backing names of all sorts, folders and symbolic links.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 65536 5
# overlay FILE BACKING-NAME FORMAT: of 1 MiB, with some data.
overlay() {
    (cd "$(dirname "$1")" && qemu-img create -q -f qcow2 -b "$2" -F "$3" "$(basename "$1")" 1M)
    guest_write "$1" data 64K
}

# Raw bases, of odd sizes too, with holes, and one that looks like a qcow2.
mkdir raw
truncate -s 3000001 raw/odd.raw
dd if=data of=raw/odd.raw bs=64k seek=20 conv=notrunc status=none
dd if=data of=raw/odd.raw bs=1 seek=2999000 count=1001 conv=notrunc status=none
truncate -s 1M raw/even.img
cp data raw/short
qemu-img create -q -f qcow2 raw/looks-like.raw 1M
for base in odd.raw even.img short looks-like.raw; do overlay "raw/over-$base.qcow2" "$base" raw; done
new_repository
expect_exit 0 byre backup --name raw raw/over-*.qcow2
expect_exit 0 byre restore name:raw --to back-raw
for base in odd.raw even.img short looks-like.raw; do
    cmp "raw/$base" "back-raw/$base" || fail "raw base $base"
    same_layer "raw/over-$base.qcow2" "back-raw/over-$base.qcow2"
    same_content "raw/over-$base.qcow2" "back-raw/over-$base.qcow2" qcow2 qcow2
done
[ "$(du -k back-raw/odd.raw | cut -f1)" -lt 1024 ] || fail "a restored raw file is not sparse"
expect_exit 0 byre restore name:raw --image over-odd.raw.qcow2 --format raw --to odd-flat.raw
same_content raw/over-odd.raw.qcow2 odd-flat.raw qcow2 raw
# A raw image alone.
expect_exit 0 byre backup --name alone raw/odd.raw
expect_exit 0 byre restore name:alone --to back-alone
cmp raw/odd.raw back-alone/odd.raw || fail "a raw image alone"
expect_exit 0 byre show name:alone --json
expect_json 'd["layers"][0]["format"] == "raw" and d["layers"][0]["virtual_size"] == 3000001'

# Relative, in other folders.
mkdir -p tree/a/b tree/c
qemu-img create -q -f qcow2 tree/c/base.qcow2 2M
guest_write tree/c/base.qcow2 data 1M
overlay tree/a/middle.qcow2 ../c/base.qcow2 qcow2
overlay tree/a/b/top.qcow2 ../middle.qcow2 qcow2
expect_exit 0 byre backup --name tree tree/a/b/top.qcow2
expect_exit 0 byre restore name:tree --to back-tree
for layer in c/base.qcow2 a/middle.qcow2 a/b/top.qcow2; do same_layer "tree/$layer" "back-tree/$layer"; done
same_content tree/a/b/top.qcow2 back-tree/a/b/top.qcow2 qcow2 qcow2
# The deepest common folder, not the longest path: one overlay alone needs no folder.
expect_exit 0 byre backup --name only --only-top tree/a/b/top.qcow2
expect_exit 0 byre show name:only --json
expect_json 'len(d["layers"]) == 1 and d["layers"][0]["backing_file"] == "../middle.qcow2"'
expect_json 'd["layers"][0]["backing_format"] == "qcow2"'
expect_exit 0 byre restore name:only --to back-only --keep-backing-names
expect_equal "$(cd back-only && find . -type f)" ./top.qcow2 "where one layer goes"
same_info tree/a/b/top.qcow2 back-only/top.qcow2
compare_layer_alone tree/a/b/top.qcow2 back-only/top.qcow2

# An absolute name is rewritten, so that the restored chain does not lead to the source.
overlay abs.qcow2 "$T/tree/c/base.qcow2" qcow2
expect_exit 0 byre backup --name abs abs.qcow2
expect_exit 0 byre restore name:abs --to back-abs
expect_says "$T/err" 'abs.qcow2.*back|backing'
expect_equal "$(qemu-img info --output=json back-abs/abs.qcow2 | python3 -c 'import json, sys; print(json.load(sys.stdin)["backing-filename"])')" \
    tree/c/base.qcow2 "the rewritten backing name"
compare_layer_alone abs.qcow2 back-abs/abs.qcow2
mv tree tree.away
qemu-img info --backing-chain back-abs/abs.qcow2 >/dev/null || fail "the restored chain needs its source"
mv tree.away tree
same_content abs.qcow2 back-abs/abs.qcow2 qcow2 qcow2
expect_exit 0 byre restore name:abs --to back-keep --keep-backing-names
same_info abs.qcow2 back-keep/abs.qcow2

# So is one through a symbolic link, and one that would leave the target.
mkdir deep
ln -s ../tree/c deep/link
overlay deep/linked.qcow2 link/base.qcow2 qcow2
levels=$(pwd | tr -cd / | wc -c)
up=$(printf '../%.0s' $(seq $((levels + 5))))
overlay deep/climb.qcow2 "$up${T#/}/tree/c/base.qcow2" qcow2
expect_exit 0 byre backup --name linked deep/linked.qcow2
expect_exit 0 byre restore name:linked --to back-linked
mv tree tree.away
top=$(find back-linked -name linked.qcow2)
qemu-img info --backing-chain "$top" >/dev/null || fail "a chain through a symbolic link came back broken"
mv tree.away tree
same_content deep/linked.qcow2 "$top" qcow2 qcow2
expect_exit 0 byre backup --name climb deep/climb.qcow2
expect_exit 0 byre restore name:climb --to back-climb
expect_equal "$(qemu-img info --output=json back-climb/deep/climb.qcow2 |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["backing-filename"])')" \
    ../tree/c/base.qcow2 "the backing name that climbed out"
same_content deep/climb.qcow2 back-climb/deep/climb.qcow2 qcow2 qcow2

# One with file: too, unless it is refused in so many words.
overlay deep/file.qcow2 "file:$T/tree/c/base.qcow2" qcow2
if byre backup -q --name file deep/file.qcow2 2>"$T/err"; then
    expect_exit 0 byre restore name:file --to back-file
    same_content deep/file.qcow2 back-file/deep/file.qcow2 qcow2 qcow2
    ! qemu-img info back-file/deep/file.qcow2 | grep -q "file:$T/tree" || fail "file: leads to the source"
else
    expect_exit 1 byre backup --name file deep/file.qcow2
    expect_says "$T/err" 'file:.*path'
fi

# ./ and // in a name lead to the layer, so it stays byte for byte; so does a colon.
overlay deep/dots.qcow2 ../tree/.//c/base.qcow2 qcow2
qemu-img create -q -f qcow2 deep/we:ird.qcow2 1M 2>/dev/null || qemu-img create -q -f qcow2 ./deep/we:ird.qcow2 1M
overlay deep/colon.qcow2 ./we:ird.qcow2 qcow2
expect_exit 0 byre backup --name same deep/dots.qcow2 deep/colon.qcow2
expect_exit 0 byre restore name:same --to back-same
same_info deep/dots.qcow2 back-same/deep/dots.qcow2
same_info deep/colon.qcow2 back-same/deep/colon.qcow2
same_content deep/dots.qcow2 back-same/deep/dots.qcow2 qcow2 qcow2

# A symbolic link as the image: the backing name counts from where the link is, as QEMU does.
mkdir links links/store
qemu-img create -q -f qcow2 links/base.qcow2 1M
guest_write links/base.qcow2 data 0
overlay links/over.qcow2 base.qcow2 qcow2
mv links/over.qcow2 links/store/
ln -s store/over.qcow2 links/over.qcow2
expect_exit 0 byre backup --name sym links/over.qcow2
expect_exit 0 byre restore name:sym --to back-sym
over=$(find back-sym -name over.qcow2)
same_content links/over.qcow2 "$over" qcow2 qcow2
[ "$(qemu-img info --output=json --backing-chain "$over" | grep -c '"filename"')" -ge 2 ] ||
    fail "no chain came back"

# A backing file without a format in the header, bigger or smaller than its overlay.
qemu-img create -q -f qcow2 small.qcow2 512K
guest_write small.qcow2 data 256K
qemu-img create -q -f qcow2 -b small.qcow2 -F qcow2 longer.qcow2 3M
qemu-img create -q -f qcow2 -b longer.qcow2 -F qcow2 shorter.qcow2 300000
io longer.qcow2 'write -P 1 1M 1k'
io shorter.qcow2 'write -P 4 0 512'
expect_exit 0 byre backup --name sizes shorter.qcow2
expect_exit 0 byre restore name:sizes --to back-sizes
for layer in small longer shorter; do same_layer "$layer.qcow2" "back-sizes/$layer.qcow2"; done
for layer in longer shorter; do
    expect_exit 0 byre backup --name flat "$layer.qcow2"
    expect_exit 0 byre restore name:flat --format raw --to "$layer.raw"
    same_content "$layer.qcow2" "$layer.raw" qcow2 raw
    expect_exit 0 byre restore name:flat --flatten --to "$layer.flat"
    same_content "$layer.qcow2" "$layer.flat" qcow2 qcow2
done
