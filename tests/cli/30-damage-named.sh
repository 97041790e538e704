#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Check names what suffers from damage: archive, image, layer, snapshot or bitmap, and exactly the
# guest bytes that cannot be read back.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
requires qemu-img qemu-io python3
M=1048576

# The data pack and the metadata pack of the newest run: byte 10 of a header is the class.
packs_seen=()
new_packs() {
    local pack
    data_pack='' meta_pack=''
    for pack in repo/packs/*; do
        if [[ " ${packs_seen[*]} " = *" $pack "* ]]; then continue; fi
        packs_seen+=("$pack")
        if [ "$(od -An -tu1 -j10 -N1 "$pack")" -eq 1 ]; then data_pack=$pack; else meta_pack=$pack; fi
    done
}
saved() {
    expect_exit 0 byre backup "$@"
    new_packs
}

# Two images on a base, one with a snapshot and a bitmap; a raw one; a side file. What each run adds
# is known to the byte.
for i in 1 2 3 4; do random_file "data$i" $M "$i"; done
random_file small 65536 5
truncate -s 2M raw.img
dd if=data1 of=raw.img bs=64k seek=8 conv=notrunc status=none
qemu-img create -q -f qcow2 base.qcow2 8M
guest_write base.qcow2 data2 $M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 web.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 db.qcow2
new_repository
fast_key
saved --name raw raw.img
raw_pack=$data_pack
saved --name base base.qcow2
base_pack=$data_pack
guest_write web.qcow2 data3 $((3 * M))
qemu-img snapshot -c before web.qcow2
saved --name web web.qcow2
web_pack=$data_pack
guest_write web.qcow2 data4 $((3 * M))
qemu-img bitmap --add web.qcow2 dirty
guest_write web.qcow2 small 0
echo '<domain/>' >vm.xml
saved --name both --with vm.xml web.qcow2 db.qcow2
both_pack=$data_pack
expect_exit 0 byre check --read-data --json
expect_silent "$T/err"
expect_json 'd["damage"] == [] and d["damage_total"] == 0 and d["errors"] == 0 and d["read_share"] == 1.0 and d["confidence"] == 0.95'

# named WHAT: the damage of that kind in the last JSON: archive, image, layer, item, ranges.
named() {
    json '"\n".join(sorted(" ".join([str(e[k]) for k in ("name", "image", "layer")] + [str(e["snapshot"] or e["bitmap"] or e["side_file"])] + ["%d+%d" % (r["offset"], r["length"]) for r in e["ranges"]]) for e in d["damage"] if e["what"] == "'"$1"'"))'
}

# missing PACK ARCHIVE...: with the pack away, check names these archives as damaged.
missing() {
    local pack=$1
    shift
    mv "$pack" away
    expect_exit 4 byre check --json
    mv away "$pack"
    expect_equal "$(json '" ".join(sorted(set(e["name"] for e in d["damage"])))')" "$*" "archives that suffer"
    expect_json 'set(e["archive"] for e in d["damage"]) == set(d["damaged_archives"])'
    expect_json '[e for e in d["damage"] if (e["bytes"], e["ranges_total"]) != (sum(r["length"] for r in e["ranges"]), len(e["ranges"]))] == []'
    # One line of stderr for each, beside the one for the pack.
    expect_equal "$(wc -l <"$T/err")" "$(($(json 'len(d["damage"])') + 1))" "lines"
    expect_json "d['errors'] == len(d['damage']) + 1"
}

missing "$raw_pack" raw
expect_equal "$(named guest-data)" "raw raw.img raw.img None $((M / 2))+$M"
expect_json 'len(d["damage"]) == 1'

# A shared base, by way of each image.
missing "$base_pack" base both web
expect_equal "$(named guest-data)" "base base.qcow2 base.qcow2 None $M+$M
both db.qcow2 base.qcow2 None $M+$M
both web.qcow2 base.qcow2 None $M+$M
web web.qcow2 base.qcow2 None $M+$M"
expect_equal "$(named header)" "base base.qcow2 base.qcow2 None 0+65536
both db.qcow2 base.qcow2 None 0+65536
both web.qcow2 base.qcow2 None 0+65536
web web.qcow2 base.qcow2 None 0+65536"
expect_json 'set(e["what"] for e in d["damage"]) == {"guest-data", "header"}'

# What became of a snapshot's data: the disk itself is other bytes by now.
missing "$web_pack" both web
expect_equal "$(named guest-data)" "both web.qcow2 web.qcow2 1 $((3 * M))+$M
web web.qcow2 web.qcow2 1 $((3 * M))+$M
web web.qcow2 web.qcow2 None $((3 * M))+$M"

missing "$both_pack" both
expect_equal "$(named guest-data)" "both web.qcow2 web.qcow2 None 0+65536 $((3 * M))+$M"
expect_equal "$(named bitmap)" "both web.qcow2 web.qcow2 dirty 0+65536"
expect_equal "$(named side-file)" "both None None vm.xml 0+10"
expect_equal "$(named header)" "both db.qcow2 db.qcow2 None 0+65536
both web.qcow2 web.qcow2 None 0+65536"

# The same in words.
mv "$web_pack" away
expect_exit 4 byre check
mv away "$web_pack"
for archive in web both; do
    expect_says "$T/err" "^byre: archive [0-9a-f]{16} $archive \([0-9]{4}-[0-9]{2}-[0-9]{2}\): image web.qcow2, layer web.qcow2, snapshot 1 \(before\): guest bytes $((3 * M)) to $((4 * M - 1)) are damaged: object [0-9a-f]{16}: ${web_pack#repo/} is missing$"
done
expect_says "$T/out" '^damaged archive [0-9a-f]{64}$'


# Many ranges: some are told, and all are counted.
qemu-img create -q -f qcow2 holes.qcow2 8M
writes=()
for i in {0..39}; do
    random_file "piece$i" 65536 $((100 + i))
    writes+=("write -q -s piece$i $((i * 131072)) 64k")
done
io holes.qcow2 "${writes[@]}"
saved --name holes holes.qcow2
mv "$data_pack" away
expect_exit 4 byre check --json
expect_json '[e for e in d["damage"] if e["what"] == "guest-data"][0]["ranges"] == [{"offset": i * 131072, "length": 65536} for i in range(32)]'
expect_json '[(e["ranges_total"], e["bytes"]) for e in d["damage"] if e["what"] == "guest-data"] == [(40, 40 * 65536)]'
expect_says "$T/err" "guest bytes 0 to 65535, 131072 to 196607, .*917504 to 983039 and 32 more, $((40 * 65536)) bytes in all, are damaged"
mv away "$data_pack"

# A damaged leaf, found without reading data: the regions below it, for every archive that has it.
qemu-img create -q -f qcow2 trees.qcow2 20M
guest_write trees.qcow2 data1 $((19 * M / 2))
saved --name trees trees.qcow2
leaf_pack=$meta_pack
guest_write trees.qcow2 small $M
saved --name trees2 trees.qcow2
mv "$leaf_pack" away
expect_exit 4 byre check --json
mv away "$leaf_pack"
expect_equal "$(named guest-data)" "trees2 trees.qcow2 trees.qcow2 None $((8 * M))+$((4 * M))"
expect_equal "$(named placement)" "trees2 trees.qcow2 trees.qcow2 None $((8 * M))+$((4 * M))"
expect_equal "$(named record)" 'trees None None None'
expect_json 'len(d["damage"]) == 3 and d["damage_total"] == 3'
expect_says "$T/err" 'archive [0-9a-f]{16} trees \(.*\): nothing of it can be restored: .*is missing'

# Bits of frames: only who reads all of it sees that, and what a second reader cannot get is what is named.
random_file large $((5 * M)) 6
qemu-img create -q -f qcow2 large.qcow2 20M
guest_write large.qcow2 large $((5 * M + 4096))
qemu-img snapshot -c whole large.qcow2
saved --name large large.qcow2
large_pack=$data_pack
guest_write large.qcow2 small $((6 * M + 65536))
saved --name large2 large.qcow2
cp "$large_pack" whole
chmod u+w "$large_pack"
python3 - "$large_pack" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(3000000)
    byte = f.read(1)[0]
    f.seek(3000000)
    f.write(bytes([byte ^ 1]))
END
expect_exit 0 byre check --json
expect_exit 4 byre check --read-data --json
expect_json 'sorted(set(e["name"] for e in d["damage"])) == ["large", "large2"] and set(e["what"] for e in d["damage"]) == {"guest-data"}'
expect_json 'd["damaged_share_below"] is None and d["read_share"] == 1.0'
cp "$T/out" by-byre.json
read_back='sorted([[e["archive"], e["image"], e["layer"], e["snapshot"], [[r["offset"], r["length"]] for r in e["ranges"]]] for e in d["damage"]], key=str)'
named=$(json "$read_back")
python=/usr/bin/python3
if "$python" -c 'import cryptography, nacl, zstandard' 2>import; then
    printf '%s\n' 'correct horse battery staple' >passphrase
    expect_equal "$named" "$("$python" -B "$here/../reader/unreadable.py" repo passphrase)" "what the second reader cannot get"
else
    [ -z "${CI:-}" ] || fail "the second reader cannot run: $(tail -n 1 import)"
    echo "the second reader is left out: $(tail -n 1 import)"
fi

# A key that cannot read the data names the same, by checksums.
echo 'the backup one' >pw-backup
expect_exit 0 byre key add --role backup --new-password-file pw-backup
expect_exit 4 env -u BYRE_KEY_FILE "$BYRE" check --read-data --json --password-file pw-backup
expect_equal "$(json "$read_back")" "$named" "what a backup key names"
expect_json 'd["data_unopened"] is True'
mv whole "$large_pack"
expect_exit 0 byre check --read-data --json
expect_json 'd["damage"] == [] and d["damaged_archives"] == []'

# Some of it: whole packs, and what they say of the rest.
expect_exit 0 byre check --read-data=30 --json
expect_json '0.3 <= d["read_share"] <= 1 and d["confidence"] == 0.95 and 0 < d["damaged_share_below"] <= 1'
expect_exit 0 byre check --read-data=30
expect_says "$T/out" '^read [0-9.]+ % of the stored bytes, [0-9]+ of [0-9]+ packs: with 95 % confidence less than [0-9.]+ % of the packs are damaged$'
expect_exit 0 byre check --json
expect_json 'd["read_share"] == 0 and d["damaged_share_below"] is None'
