#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Archives go over to another repository: what is restored there is the same to the byte, what is
# shared is stored once, and damage stays where it is.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

# Two repositories with the same chunker and ids made by different functions, one with its own chunker; each is opened with
# another secret.
(umask 077 && for k in one two three four five; do head -c 64 /dev/urandom >"$k.key"; done)
unset BYRE_REPOSITORY BYRE_PASSWORD
init() { BYRE_KEY_FILE=$T/$1.key expect_exit 0 byre init --reserve 0 --repo "$T/$1" "${@:2}"; }
in_repo() { BYRE_KEY_FILE=$T/$1.key BYRE_REPOSITORY=$T/$1 byre "${@:2}"; }
copy() { # copy FROM TO [OPTION]... ARCHIVE...
    BYRE_FROM_KEY_FILE=$T/$1.key in_repo "$2" copy --from "$T/$1" "${@:3}"
}
init one --id-hash blake2b
BYRE_FROM_KEY_FILE=$T/one.key init two --chunker-from "$T/one" --id-hash sha256
init three --id-hash blake2b

# Disks of every kind in one archive.
random_file data 8388608 81
random_file other 1048576 82
random_file small 4096 83
mkdir disks
pushd disks >/dev/null
qemu-img create -q -f qcow2 base.qcow2 64M
guest_write base.qcow2 ../data 1M
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k -b base.qcow2 -F qcow2 middle.qcow2
guest_write middle.qcow2 ../small 3M
qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2
guest_write top.qcow2 ../other 20M
io top.qcow2 'write -z 5M 1M' 'discard 22M 256k'
qemu-img snapshot -c before top.qcow2
guest_write top.qcow2 ../small 20M
qemu-img bitmap --add top.qcow2 theirs
io top.qcow2 'write -P 9 40M 64k'
qemu-img create -q -f qcow2 -o compression_type=zstd,cluster_size=4k packed.qcow2 16M
qemu-io -f qcow2 -c 'write -q -c -P 5 0 64k' packed.qcow2 >/dev/null
random_file uneven.raw 3000001 84
qemu-img create -q -f qcow2 -o data_file=apart.data,data_file_raw=on apart.qcow2 8M
guest_write apart.qcow2 ../other 2M
luks=(--object 'secret,id=s,data=x')
luks_tool create -q -f qcow2 "${luks[@]}" \
    -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 luks.qcow2 4M
qemu-io "${luks[@]}" -c 'write -q -P 77 1M 512k' --image-opts \
    driver=qcow2,file.filename=luks.qcow2,encrypt.key-secret=s >/dev/null
echo '<domain/>' >vm.xml
random_file nvram 600001 85
popd >/dev/null
all=(disks/top.qcow2 disks/packed.qcow2 disks/uneven.raw disks/apart.qcow2 disks/luks.qcow2)
# Only some of them can have a bitmap of byre's own, so that this exits 3.
back_up() { expect_exit 3 in_repo one backup --json --name "$1" --bitmap "${@:2}" "${all[@]}"; }
back_up all --tag a --tag b --with disks/vm.xml --with disks/nvram
[ "$(json 'd["archive"]')" ] || fail "no archive"
first=$(json 'd["archive"]')
fresh=$(json 'd["bytes_new"]')
guest_write disks/top.qcow2 small 30M
back_up all
second=$(json 'd["archive"]')
expect_equal "$(json 'd["parent"]')" "$first" parent

restore() { # restore REPOSITORY ARCHIVE FOLDER
    expect_exit 0 in_repo "$1" restore "$2" --to "$3" --verify
}
same_files() { # same_files FOLDER FOLDER: names, bytes, modes and times (side files have none)
    diff -r --no-dereference "$1" "$2" || fail "$1 and $2 differ"
    (cd "$1" && find . -path ./side-files -prune -o -type f -printf '%p %m %s %T@\n' | sort) >facts-a
    (cd "$2" && find . -path ./side-files -prune -o -type f -printf '%p %m %s %T@\n' | sort) >facts-b
    diff facts-a facts-b || fail "modes or times of $1 and $2 differ"
}
restore one "$first" one-first
restore one "$second" one-second

# A dry run tells what there is to do, and does nothing.
find two -type f | sort >files
expect_exit 0 copy one two --dry-run --json "$first"
expect_json "d['dry_run'] and d['archives'] == [{'source': '$first', 'archive': None, 'name': 'all', 'state': 'copied'}]"
expect_json "d['bytes_new'] == $fresh"
find two -type f | sort | cmp - files || fail "a dry run changed the repository"

# The second one costs little more than what changed in it.
expect_exit 0 copy one two --json "$first"
in_two=$(json 'd["archives"][0]["archive"]')
expect_json "d['bytes_new'] == $fresh and d['bytes_stored'] > 0 and d['seconds'] >= 0"
[ "$in_two" != "$first" ] || fail "the ids of two repositories are the same"
expect_exit 0 copy one two --json "$second"
expect_json "d['bytes_new'] < 1 << 20 and d['chunks_total'] < 100"
second_in_two=$(json 'd["archives"][0]["archive"]')
restore two "$in_two" two-first
restore two "$second_in_two" two-second
same_files one-first two-first
same_files one-second two-second
layer=$(find two-first -name top.qcow2)
same_content "$(find one-first -name top.qcow2)" "$layer" qcow2 qcow2
clean_qcow2 "$layer"
qemu-img info --output=json "$layer" >facts
grep -q '"theirs"' facts || fail "a bitmap is not there"
grep -q '"before"' facts || fail "a snapshot is not there"
expect_exit 0 in_repo two check --read-data
in_repo one show "$first" --json >show-one
in_repo two show "$in_two" --json >show-two
python3 - show-one show-two <<'PY' || fail "show says something else of the copy"
import json, sys
one, two = (json.load(open(f)) for f in sys.argv[1:])
names = {l["id"]: n for d in (one, two) for n, l in enumerate(d["layers"])}
for d in one, two:
    for key in ("id", "bytes_stored", "parent"): d.pop(key)
    for image in d["images"]: image["layers"] = [names[i] for i in image["layers"]]
    for layer in d["layers"]: layer.pop("id")
assert one == two, (one, two)
PY
in_repo two list --json >list-two
expect_json "[a['parent'] for a in d] == [None, '$in_two']" list-two
expect_json "[a['tags'] for a in d] == [['a', 'b'], []]" list-two

# What was copied before is known again, also from a copy of the copy, and in both at once.
expect_exit 0 copy one two --json "$second" latest "$first"
expect_json "[(a['state'], a['source']) for a in d['archives']] == [('present', '$first'), ('present', '$second')]"
expect_json "d['archives'][0]['archive'] == '$in_two' and d['bytes_stored'] == 0"
expect_exit 0 copy two three --json all "$in_two"
expect_json "[a['state'] for a in d['archives']] == ['copied', 'copied'] and d['bytes_new'] >= $fresh / 2"
expect_json "d['bytes_new'] < $fresh * 1.1"
expect_exit 0 copy one three --json "$first" "$second"
expect_json "{a['state'] for a in d['archives']} == {'present'}"
expect_exit 0 in_repo three list --json
expect_json 'len(d) == 2 and d[1]["parent"] == d[0]["id"]'
restore three "$(json 'd[0]["id"]')" three-first
restore three all three-second
same_files one-first three-first
same_files one-second three-second
expect_exit 0 in_repo three check --read-data
expect_exit 0 in_repo three backup --json --name more "${all[@]}"
restore three more three-more
for image in top packed; do
    same_content "disks/$image.qcow2" "$(find three-more -name "$image.qcow2")" qcow2 qcow2
done

# A parent that was not copied is none.
init four --id-hash sha256
expect_exit 0 copy one four "$second"
expect_says "$T/out" 'copied as'
expect_exit 0 in_repo four list --json
expect_json 'd[0]["parent"] is None and d[0]["name"] == "all"'
restore four latest four-second
same_files one-second four-second
nothing_left_in() { expect_empty_folder "$T/$1/tmp"; }
nothing_left_in four

# Any key may take them, only a full one may give them.
(umask 077 && head -c 64 /dev/urandom >append.key)
expect_exit 0 in_repo four key add --role append --new-key-file "$T/append.key"
expect_exit 0 in_repo one key add --role append --new-key-file "$T/append.key"
BYRE_KEY_FILE=$T/append.key BYRE_FROM_KEY_FILE=$T/one.key BYRE_REPOSITORY=$T/four \
    expect_exit 0 byre copy --json --from one "$first"
expect_json 'd["archives"][0]["state"] == "copied"'
by_append=$(json 'd["archives"][0]["archive"]')
# Whether that is a copy indeed, a full key finds out by itself.
expect_exit 0 copy one four --json "$first"
expect_json "d['archives'][0]['state'] == 'present' and d['archives'][0]['archive'] == '$by_append'"
expect_json "d['bytes_stored'] == 0"
expect_exit 0 in_repo four list --json
expect_json 'len(d) == 2'
BYRE_KEY_FILE=$T/four.key BYRE_FROM_KEY_FILE=$T/append.key BYRE_REPOSITORY=$T/four \
    expect_exit 12 byre copy --from one "$first"
expect_says "$T/err" 'one.*full'
BYRE_KEY_FILE=$T/four.key BYRE_FROM_KEY_FILE=$T/two.key BYRE_REPOSITORY=$T/four \
    expect_exit 12 byre copy --from one "$first"
BYRE_KEY_FILE=$T/four.key BYRE_REPOSITORY=$T/four expect_exit 2 byre copy --from one "$first" </dev/null
expect_says "$T/err" 'BYRE_FROM_PASSWORD'
expect_exit 1 copy one four no-such
expect_exit 10 copy nowhere four latest
expect_exit 2 in_repo four copy latest
expect_exit 2 copy one one latest
expect_says "$T/err" 'one repository'

# What was forgotten is copied anew, whatever of it has been freed.
for step in true 'in_repo four prune --no-grace --max-unused 0'; do
    expect_exit 0 in_repo four forget "$by_append"
    $step >"$T/out" || fail "$step"
    expect_exit 0 copy one four --json "$first" "$second"
    expect_json "[a['state'] for a in d['archives']] == ['copied', 'present']"
    rm -rf four-first
    restore four "$by_append" four-first
    same_files one-first four-first
    expect_exit 0 in_repo four check --read-data
done

# The passphrase, by each of the ways.
BYRE_FROM_KEY_FILE='' in_repo one key add --new-password-file <(echo 'from here') >"$T/out"
echo 'from here' >from.pass
chmod 600 from.pass
for way in "BYRE_FROM_PASSWORD=from here" "BYRE_FROM_PASSWORD_FILE=$T/from.pass" \
    "BYRE_FROM_PASSWORD_COMMAND=cat $T/from.pass"; do
    env "$way" "BYRE_KEY_FILE=$T/two.key" "$BYRE" --repo two copy --from one --json "$first" >"$T/out" ||
        fail "copy with $way"
    expect_json 'd["archives"][0]["state"] == "present"'
done

# Damage in the source: nothing of that archive is committed, the other one is.
expect_exit 0 in_repo one backup --json --name sound disks/packed.qcow2
cp -r one broken
random_file lost 4194304 86
qemu-img create -q -f qcow2 disks/lost.qcow2 16M
guest_write disks/lost.qcow2 lost 0
find broken/packs -type f | sort >packs
cp one.key broken.key
expect_exit 0 in_repo broken backup --json --name lost disks/lost.qcow2
lost=$(json 'd["archive"]')
largest=$(find broken/packs -type f | sort | comm -13 packs - | xargs ls -S | head -n 1)
printf 'damage' | dd of="$largest" bs=1 seek=2000000 conv=notrunc status=none
init five
expect_exit 4 copy broken five --json "$lost" sound
expect_json "[(a['name'], a['state'], a['archive'] is None) for a in d['archives']] == [('sound', 'copied', False), ('lost', 'damaged', True)]"
expect_says "$T/err" "${lost:0:16}.*not copied.*$(basename "$largest")"
expect_exit 0 in_repo five list --json
expect_json '[a["name"] for a in d] == ["sound"]'
expect_exit 0 in_repo five check --read-data
restore five sound five-sound
same_content disks/packed.qcow2 five-sound/packed.qcow2 qcow2 qcow2
