#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# export --since: overlays over the files of the earlier export, which run as they are, and which
# qemu-img commit applies, whatever became of the chain in between.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 tar sha256sum

new_repository
fast_key
random_file data 1048576 62
random_file other 300032 63
random_file small 4096 64

# take NAME IMAGE FORMAT: an archive, what qemu-img makes of the disk, and its full export unpacked.
take() {
    expect_exit 0 byre backup -q --name "$1" "$2"
    qemu-img convert -f "$3" -O raw "$2" "$1.raw"
    rm -rf "full-$1"
    mkdir "full-$1"
    byre export -q "$1" -o - 2>"$T/err" | tar x -C "full-$1"
}

# overlay FOLDER [INDEX]: the name of the image's overlay, and of the file below it.
overlay() {
    python3 -c '
import json, sys
m = json.load(open(sys.argv[1] + "/manifest.json"))
name = m["images"][int(sys.argv[2])]["files"][0]
print(name, next(f["backing_file"] for f in m["files"] if f["file"] == name))' "$1" "${2:-0}"
}

# applies OLD NEW [SMALLER]: the difference over the earlier export runs as the new disk does; and
# committed, it is that.
applies() {
    local old=$1 new=$2 name base format=qcow2
    rm -rf over
    cp -r --sparse=always "full-$old" over
    expect_exit 0 byre export -q "name:$new" --since "name:$old" -o since.tar --force
    [ "$(stat -c %s since.tar)" -le "${3:-100000000}" ] || fail "$old to $new: $(stat -c %s since.tar) bytes"
    tar xf since.tar -C over
    (cd over && sha256sum --quiet -c SHA256SUMS) || fail "sha256sum $new since $old"
    read -r name base < <(overlay over)
    clean_qcow2 "over/$name"
    expect_equal "$(qemu-img info --output=json "over/$name" | python3 -c 'import json, sys; i = json.load(sys.stdin); print(i["backing-filename"], i["format-specific"]["data"]["compat"])')" "$base 1.1"
    same_content "$new.raw" "over/$name" raw qcow2
    expect_equal "$(qemu-img info --output=json -f qcow2 "over/$name" | python3 -c 'import json, sys; print(json.load(sys.stdin)["virtual-size"])')" "$(stat -c %s "$new.raw")"
    # a guest goes on with it
    io "over/$name" 'read 0 512'
    qemu-img commit -q -f qcow2 "over/$name"
    [[ $base = *.raw ]] && format=raw
    # qemu-img does not shrink what it commits to
    if [ "$(stat -c %s "$new.raw")" -lt "$(stat -c %s "$old.raw")" ]; then
        qemu-img resize -q -f $format --shrink "over/$base" "$(stat -c %s "$new.raw")"
    fi
    same_content "$new.raw" "over/$base" raw $format
}

# Written, zeroed, discarded, in clusters of every kind; both ways.
for options in cluster_size=512 cluster_size=2M compat=0.10; do
    rm -f disk.qcow2
    qemu-img create -q -f qcow2 -o "$options" disk.qcow2 24M
    guest_write disk.qcow2 data 3M
    guest_write disk.qcow2 data 12M
    take before disk.qcow2 qcow2
    guest_write disk.qcow2 small 5M
    guest_write disk.qcow2 other 10M
    io disk.qcow2 'write -z 3M 300k' 'discard 12800k 128k' 'write -P 7 3500k 512' 'write -z 12300k 4k' \
        'write -c -P 9 8M 2M'
    take after disk.qcow2 qcow2
    applies before after
    applies after before
done
take again disk.qcow2 qcow2
applies after again 1000000 # tables, and no data

# A chain that was committed, rebased, flattened, extended.
qemu-img create -q -f qcow2 base.qcow2 16M
guest_write base.qcow2 data 0
guest_write base.qcow2 data 10M
qemu-img create -q -f qcow2 -o extended_l2=on -b base.qcow2 -F qcow2 top.qcow2
guest_write top.qcow2 other 1M
take c0 top.qcow2 qcow2
guest_write top.qcow2 small 11M
io top.qcow2 'write -z 12M 1M' 'write -z 2M 64k'
qemu-img commit -q -f qcow2 top.qcow2
guest_write top.qcow2 small 15M
take c1 top.qcow2 qcow2
applies c0 c1
cp base.qcow2 base2.qcow2
guest_write base2.qcow2 small 2M
qemu-img rebase -f qcow2 -b base2.qcow2 -F qcow2 top.qcow2
io top.qcow2 'discard 15M 4k' 'write -z 0 64k'
take c2 top.qcow2 qcow2
applies c0 c2
qemu-img rebase -f qcow2 -b '' top.qcow2
qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 snap.qcow2
guest_write snap.qcow2 small 7M
take c3 snap.qcow2 qcow2
applies c0 c3
expect_equal "$(overlay over | sed 's/[0-9a-f]\{8\}/ID/g')" 'top.ID-since-ID.qcow2 top.qcow2'

# Grown and shrunk, also over a layer that is longer than the one above it.
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 short.qcow2 10487296
take g0 short.qcow2 qcow2
qemu-img resize -q -f qcow2 short.qcow2 20M
guest_write short.qcow2 small 18M
take g1 short.qcow2 qcow2
applies g0 g1 1000000
applies g1 g0
qemu-img resize -q -f qcow2 --shrink short.qcow2 5243392
take g2 short.qcow2 qcow2
applies g1 g2

# A raw disk that ends anywhere.
{ cat data; head -c 1536 other; } >disk.raw
take w0 disk.raw raw
dd if=other of=disk.raw bs=512 count=9 seek=4001 conv=notrunc status=none
truncate -s 5242880 disk.raw
dd if=other of=disk.raw bs=512 count=3 seek=9000 conv=notrunc status=none
take w1 disk.raw raw
applies w0 w1

# Large, and little of it changed: what is zero now takes no room.
qemu-img create -q -f qcow2 large.qcow2 1T
guest_write large.qcow2 data 0
guest_write large.qcow2 data 900G
expect_exit 0 byre backup -q --name t0 large.qcow2
io large.qcow2 'discard 900G 4M' 'write -P 1 512G 64k'
expect_exit 0 byre backup -q --name t1 large.qcow2
mkdir t
byre export -q t0 -o - | tar x -C t
expect_exit 0 byre export -q t1 --since t0 -o - --json
expect_json 'd["bytes_written"] < 1 << 20 and d["since"] is not None' "$T/err"
tar xf "$T/out" -C t
read -r name base < <(overlay t)
expect_equal "$base" large.qcow2
clean_qcow2 "t/$name"
same_content large.qcow2 "t/$name" qcow2 qcow2
[ "$(du -k "t/$name" | cut -f 1)" -lt 1024 ] || fail "an overlay of $(du -k "t/$name")"

# Many images: pairs as in diff, one that is new, and names that no two tars share.
mkdir p q
for name in p/one.qcow2 q/one.qcow2 two.qcow2 two.img; do
    qemu-img create -q -f qcow2 "$name" 8M
    guest_write "$name" small 1M
done
echo 1 >domain.xml
expect_exit 0 byre backup -q --name i0 --with domain.xml p/one.qcow2 q/one.qcow2 two.qcow2 two.img
guest_write q/one.qcow2 small 5M
guest_write two.img small 6M
qemu-img create -q -f qcow2 three.qcow2 8M
guest_write three.qcow2 data 0
echo 2 >domain.xml
expect_exit 0 byre backup -q --name i1 --with domain.xml three.qcow2 q/one.qcow2 two.img two.qcow2
mkdir i
byre export -q i0 -o - | tar x -C i
find i -type f | sort >names
byre export -q i1 --since i0 -o - | tar x -C i
(cd i && sha256sum --quiet -c SHA256SUMS) || fail "many images"
for n in 0:three.qcow2 1:q/one.qcow2 2:two.img 3:two.qcow2; do
    read -r name base < <(overlay i "${n%%:*}")
    ! grep -qxF "i/$name" names || fail "$name is in both"
    clean_qcow2 "i/$name"
    same_content "${n#*:}" "i/$name" qcow2 qcow2
    [ "$n" = 0:three.qcow2 ] || expect_equal "$(dirname "${n#*:}")/$base" "$(dirname "$name")/$(basename "${n#*:}")"
done
expect_equal "$(cat i/side-files/domain.xml)" 2
expect_equal "$(python3 -c 'import json; m = json.load(open("i/manifest.json")); print(m["since"]["name"], len(m["since"]["archive"]))')" 'i0 64'

# What cannot be: with the reason, and without a file.
qemu-img create -q --object 'secret,id=s,data=secret' -f qcow2 \
    -o encrypt.format=aes,encrypt.key-secret=s aes.qcow2 8M
expect_exit 0 byre backup -q --name e0 aes.qcow2
expect_exit 0 byre backup -q --name e1 aes.qcow2
expect_exit 1 byre export e1 --since e0 -o no.tar
expect_says "$T/err" 'aes.qcow2: is encrypted.*without --since'
expect_missing no.tar
expect_exit 0 byre export -q e1 -o aes.tar
mkdir e
tar xf aes.tar -C e
key='driver=qcow2,encrypt.key-secret=s,file.filename'
qemu-img compare -q --object 'secret,id=s,data=secret' --image-opts "$key=aes.qcow2" "$key=e/aes.qcow2" ||
    fail "an encrypted disk"
expect_exit 0 byre backup -q --only-top --name only top.qcow2
expect_exit 0 byre backup -q --only-top --name only-snap snap.qcow2
expect_exit 1 byre export only-snap --since c0 -o no.tar
expect_says "$T/err" 'top.qcow2 is not part of archive'
expect_exit 1 byre export c0 --since no-such -o no.tar
expect_exit 2 byre export c0 --since name:c0 -o no.tar
expect_missing no.tar
