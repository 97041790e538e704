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

# set_name IMAGE NAME FORMAT: makes the header say that, in as little room as it can; no FORMAT
# for "".
set_name() {
    python3 - "$@" <<'END'
import struct, sys
path, name, form = sys.argv[1], sys.argv[2].encode(), sys.argv[3].encode()
with open(path, "r+b") as f:
    head = f.read(104)
    size = 1 << struct.unpack_from(">I", head, 20)[0]
    at = struct.unpack_from(">I", head, 100)[0]
    f.seek(at)
    room = bytearray(size - at)
    used = 0
    if form:
        struct.pack_into(f">II{len(form)}s", room, 0, 0xE2792ACA, len(form), form)
        used = 8 + (len(form) + 7) // 8 * 8
    used += 8
    assert used + len(name) <= len(room), "too long for the header"
    room[used:used + len(name)] = name
    f.write(room)
    f.seek(8)
    f.write(struct.pack(">QI", at + used, len(name)))
END
}
# backing FACT IMAGE: "filename" or "filename-format" of what the header says; "" for none.
backing() {
    qemu-img info --output=json "$2" |
        python3 -c 'import json, sys; print(json.load(sys.stdin).get("backing-" + sys.argv[1], ""))' "$1"
}
# rewritten TITLE IMAGE NAME FORMAT WANT-FORMAT: with that name above tree/c/base.qcow2 it comes back
# as a relative path, says so, needs nothing of its source, and the guest sees the same.
rewritten() {
    local image=$2 top
    set_name "$image" "$3" "$4"
    expect_exit 0 byre backup --name "$1" "$image"
    expect_exit 0 byre restore "name:$1" --to "back-$1"
    expect_says "$T/err" 'backing file is now called ../tree/c/base.qcow2'
    grep -qF -- "it was $3" "$T/err" || fail "$1: the old name is not reported"
    top=back-$1/$image
    expect_equal "$(backing filename "$top")" ../tree/c/base.qcow2 "$1: the name"
    expect_equal "$(backing filename-format "$top")" "$5" "$1: the format"
    clean_qcow2 "$top"
    compare_layer_alone "$image" "$top"
    [ "$5" != raw ] || cmp "back-$1/$base" "$base" || fail "$1: a raw base is not the same"
    same_content "$image" "$top" qcow2 qcow2
    mv tree tree.away
    qemu-io -r -f qcow2 -c 'read 0 1M' "$top" >"$T/qemu-io" 2>&1 || fail "$1 needs its source"
    ! grep -qiE "can't|fail|error" "$T/qemu-io" || fail "$1 needs its source"
    mv tree.away tree
    rm -rf "back-$1"
    expect_exit 0 byre restore "name:$1" --to "back-$1" --keep-backing-names
    expect_equal "$(backing filename "$top")" "$3" "$1: the name that was kept"
    expect_equal "$(backing filename-format "$top")" "$4" "$1: the format that was kept"
    rm -rf "back-$1"
}
base=tree/c/base.qcow2
overlay deep/named.qcow2 ../tree/c/base.qcow2 qcow2
# With file: and json: names count from the working folder, not from that of the overlay.
rewritten file deep/named.qcow2 "file:$base" qcow2 qcow2
rewritten file-absolute deep/named.qcow2 "file:$T/$base" qcow2 qcow2
rewritten file-probed deep/named.qcow2 "file:$base" '' ''
rewritten json-nested deep/named.qcow2 \
    "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"$base\"}}" qcow2 qcow2
rewritten json-dotted deep/named.qcow2 \
    "json:{\"driver\":\"qcow2\",\"file.driver\":\"file\",\"file.filename\":\"$T/$base\"}" '' qcow2
rewritten json-options deep/named.qcow2 \
    "json:{'cache':{'direct':false},'file':{'filename':'$base','locking':'auto','aio':'threads'}}" '' ''
# A base that is raw for its overlay, though it looks like a qcow2: by the JSON alone, and by the
# header against the JSON.
rewritten json-raw deep/named.qcow2 "json:{\"driver\":\"raw\",\"file.filename\":\"$base\"}" '' raw
rewritten json-header deep/named.qcow2 "json:{\"driver\":\"qcow2\",\"file.filename\":\"$base\"}" raw raw
rewritten json-header-2 deep/named.qcow2 "json:{\"driver\":\"raw\",\"file.filename\":\"$base\"}" qcow2 qcow2
# One of the most bytes that there can be.
slashes=$(printf '/%.0s' $(seq 995))
long="file:tree${slashes}c/../c/./base.qcow2"
expect_equal "${#long}" 1023 "the longest name"
rewritten long deep/named.qcow2 "$long" qcow2 qcow2

# refused NAME PATTERN: for what it is; --only-top takes it.
refused() {
    set_name deep/named.qcow2 "$1" raw
    expect_exit 1 byre backup --name refused deep/named.qcow2
    expect_says "$T/err" "$2"
    expect_says "$T/err" 'deep/named.qcow2.*--only-top'
}
refused "json:{\"driver\":\"raw\",\"offset\":65536,\"file.filename\":\"$base\"}" 'change the disk: "offset"'
refused "json:{\"driver\":\"raw\",\"size\":65536,\"file.filename\":\"$base\"}" 'change the disk: "size"'
refused "json:{\"file\":{\"filename\":\"$base\",\"x\":1}}" 'change the disk: "file.x"'
refused 'json:{"driver":"raw","file":{"driver":"nbd","host":"h"}}' '"file.host"|"nbd"'
refused 'json:{"driver":"luks","file.filename":"x"}' '"luks"'
refused 'json:{"file.filename":"x\u0000y"}' 'no JSON'
refused 'json:{' 'no JSON'
for name in nbd://localhost/x ssh://h/x http://h/x; do refused "$name" "$name"; done
expect_exit 0 byre backup --name refused --only-top deep/named.qcow2
expect_exit 0 byre restore name:refused --to back-refused
expect_equal "$(backing filename back-refused/named.qcow2)" http://h/x "a name that is not followed"

# A new name that does not fit the header: known before anything is written.
folder=$(printf 'f%.0s' $(seq 200))
mkdir -p "far/$folder/$folder" tight
cp "$base" "far/$folder/$folder/base.qcow2"
qemu-img create -q -f qcow2 -o cluster_size=512 tight/top.qcow2 1M
guest_write tight/top.qcow2 data 64K
set_name tight/top.qcow2 file:base.qcow2 qcow2
(cd "far/$folder/$folder" && expect_exit 0 byre backup --name tight "$T/tight/top.qcow2")
expect_exit 1 byre restore name:tight --to back-tight
expect_says "$T/err" "tight/top.qcow2: its header of 512 bytes has no room for the new name \.\./far/$folder"
expect_says "$T/err" '--keep-backing-names'
expect_missing back-tight
expect_exit 0 byre restore name:tight --to back-tight --keep-backing-names
expect_equal "$(backing filename back-tight/tight/top.qcow2)" file:base.qcow2 "a name that was kept"
compare_layer_alone tight/top.qcow2 back-tight/tight/top.qcow2
expect_exit 0 byre restore name:tight --to tight-flat.qcow2 --flatten
(cd "far/$folder/$folder" && same_content "$T/tight/top.qcow2" "$T/tight-flat.qcow2" qcow2 qcow2)
# One that just fits.
mkdir -p "near/$folder/${folder:50}"
cp "$base" "near/$folder/${folder:50}/b"
set_name tight/top.qcow2 file:b qcow2
(cd "near/$folder/${folder:50}" && expect_exit 0 byre backup --name near "$T/tight/top.qcow2")
expect_exit 0 byre restore name:near --to back-near
expect_equal "$(backing filename back-near/tight/top.qcow2)" "../near/$folder/${folder:50}/b" "a name that fits"
clean_qcow2 back-near/tight/top.qcow2

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
