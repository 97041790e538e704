#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Names, tags, side files, shared bases; list and show say what CLI.md promises.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 262144 6
random_file other 65536 7
qemu-img create -q -f qcow2 base.qcow2 8M
guest_write base.qcow2 data 1M
for n in 0 1 2 3 4 5 6 7 8 9; do
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "o$n.qcow2"
    random_file small 4096 "10$n"
    guest_write "o$n.qcow2" small "$((n * 512 + 512))K"
done
new_repository

# Ten overlays store their base once, in one archive or in many.
expect_exit 0 byre backup --json base.qcow2 --name just-base --frozen-base
base=$(json 'd["bytes_new"]')
expect_exit 0 byre backup --json --name ten o?.qcow2
expect_json 'd["layers_total"] == 11 and d["name"] == "ten"'
# A layer brings its data and its header, a cluster each.
expect_json 'd["bytes_new"] <= 10 * 2 * 65536'
cp base.qcow2 base2.qcow2
expect_exit 0 byre backup --json base2.qcow2
expect_json 'd["bytes_new"] == 0 and d["chunks_new"] == 0'
[ "$base" -ge 262144 ] || fail "the base brought $base bytes"
expect_exit 0 byre backup --json --full-read o?.qcow2
expect_json 'd["chunks_new"] == 0 and d["bytes_new"] == 0 and d["name"] == "o0"'

# Side files and tags.
echo '<domain/>' >vm.xml
random_file nvram 5000 8
expect_exit 0 byre backup --json --name "Täst vm" --tag a --tag b --with vm.xml --with nvram o1.qcow2
one=$(json 'd["archive"]')
expect_exit 0 byre backup --json --name plain --tag b o2.qcow2
two=$(json 'd["archive"]')
expect_exit 0 byre restore "$one" --to with --verify
cmp vm.xml with/side-files/vm.xml || fail "a side file"
cmp nvram with/side-files/nvram || fail "a side file"
mkdir again
cp nvram again/nvram
expect_exit 1 byre backup --name x --with nvram --with no-such-file o1.qcow2
byre backup --with nvram --with again/nvram --name both o1.qcow2 >"$T/out" 2>"$T/err" && {
    expect_exit 0 byre restore name:both --to both
    [ "$(find both/side-files -type f | wc -l)" = 2 ] || fail "of two side files of one name, one is lost"
}

# show.
expect_exit 0 byre show "$one" --json
python3 - "$T" "$one" <<'PY' || fail "show --json is not as promised"
import json, os, re, sys
t, one = sys.argv[1:]
d = json.load(open(t + "/out"))
for key in "id name host time tags images layers bytes_allocated bytes_stored parent with".split():
    assert key in d, key
assert d["id"] == one and d["name"] == "Täst vm" and d["tags"] == ["a", "b"], d
assert sorted((w["name"], w["bytes"]) for w in d["with"]) == [("nvram", 5000), ("vm.xml", 10)], d["with"]
assert len(d["images"]) == 1 and d["images"][0]["path"] == t + "/o1.qcow2", d["images"]
assert d["images"][0]["name"] == "o1.qcow2" and len(d["images"][0]["layers"]) == 2
layers = {l["id"]: l for l in d["layers"]}
top, base = [layers[i] for i in d["images"][0]["layers"]]
if top["backing_file"] is None: top, base = base, top
for l in top, base:
    for key in ("id path format virtual_size cluster_size backing_file backing_format encryption "
                "snapshots bitmaps bytes_allocated delta delta_reason").split():
        assert key in l, key
    assert l["virtual_size"] == 8 << 20 and l["cluster_size"] == 65536 and l["format"] == "qcow2"
    assert l["snapshots"] == [] and l["bitmaps"] == [] and l["encryption"] in (None, "none")
    assert l["delta"] in "none frozen mtime snapshot bitmap compared full-read".split()
    assert l["delta_reason"]
assert top["backing_file"] == "base.qcow2" and top["backing_format"] == "qcow2"
assert base["backing_file"] is None and base["path"] == t + "/base.qcow2"
assert top["bytes_allocated"] == 65536 and base["bytes_allocated"] == 4 * 65536
assert d["bytes_allocated"] == 5 * 65536
PY
expect_exit 0 byre show "$one"
expect_says "$T/out" 'base.qcow2'

# list.
expect_exit 0 byre list --json
python3 - "$T" "$one" "$two" <<'PY' || fail "list --json is not as promised"
import json, re, sys
t, one, two = sys.argv[1:]
d = json.load(open(t + "/out"))
for a in d:
    for key in "id name host time tags images bytes_allocated bytes_stored parent".split():
        assert key in a, key
    assert re.fullmatch("[0-9a-f]{64}", a["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", a["time"]), a["time"]
names = [a["name"] for a in d]
assert names[:4] == ["just-base", "ten", "base2", "o0"], names
assert [a["id"] for a in d if a["tags"]] == [one, two]
assert [a["time"] for a in d] == sorted(a["time"] for a in d)
PY
names() { byre list --json "$@" | python3 -c 'import json, sys; print(*[a["name"] for a in json.load(sys.stdin)])'; }
expect_equal "$(names --name ten)" ten "list --name"
expect_equal "$(names --tag b | tr ' ' '\n' | tail -n 1)" plain "list --tag"
expect_equal "$(names --tag a)" 'Täst vm' "list --tag a"
expect_equal "$(names --last 2)" 'Täst vm plain' "list --last"
expect_equal "$(names --name no-such)" '' "list of an unknown name"
expect_exit 0 byre list
expect_says "$T/out" 'plain'

# Ways to name an archive.
expect_exit 0 byre backup --json --name plain o3.qcow2
newest=$(json 'd["archive"]')
shown() { byre show "$1" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])'; }
expect_equal "$(shown latest)" "$newest" latest
expect_equal "$(shown plain)" "$newest" "a name"
expect_equal "$(shown name:plain)" "$newest" "name:"
expect_equal "$(shown "${two:0:8}")" "$two" "a prefix"
expect_equal "$(shown "${two:0:4}")" "$two" "the shortest prefix"
expect_equal "$(shown 'Täst vm')" "$one" "a name with a space"
expect_exit 1 byre show "${two:0:3}"
expect_exit 1 byre show no-such
expect_exit 1 byre show name:no-such
expect_exit 1 byre show 0123456789abcdef
# A name that looks like a prefix: the prefix wins, name: is sure.
expect_exit 0 byre backup --json --name "${two:0:6}" o4.qcow2
expect_equal "$(shown "${two:0:6}")" "$two" "a name that is an id's prefix"
expect_equal "$(shown "name:${two:0:6}")" "$(json 'd["archive"]')" "name: where the name is a prefix"
expect_exit 0 byre backup --json --name beef00 o4.qcow2
expect_equal "$(shown beef00)" "$(json 'd["archive"]')" "a name in hex that is no prefix"

# What no name may be.
before=$(archive_count)
for bad in latest a/b a:b '' $'a\nb' $'a\x1bb' $'a\x7fb' $'\xff\xfe'; do
    expect_exit 2 byre backup --name "$bad" o1.qcow2
done
expect_equal "$(archive_count)" "$before" "archives after names that are refused"
# So a default name that comes from such a file must not be one that cannot be asked for.
cp base.qcow2 latest.qcow2
cp base.qcow2 'co:lon.qcow2'
for odd in latest.qcow2 ./co:lon.qcow2; do
    if byre backup --json "$odd" >"$T/out" 2>"$T/err"; then
        expect_json 'd["name"] != "latest" and ":" not in d["name"]'
    fi
done

# Images of one name in several folders: the shortest trailing path that is unambiguous.
mkdir -p vm1 vm2
cp base.qcow2 vm1/disk.qcow2
cp base.qcow2 vm2/disk.qcow2
cp base.qcow2 vm2/xdisk.qcow2
guest_write vm1/disk.qcow2 other 0
expect_exit 0 byre backup --name two vm1/disk.qcow2 vm2/disk.qcow2 vm2/xdisk.qcow2
expect_exit 2 byre restore two --image disk.qcow2 --to nowhere
expect_says "$T/err" 'vm1/disk.qcow2|ambiguous|more than one|2 images'
expect_missing nowhere
expect_exit 1 byre restore two --image isk.qcow2 --to nowhere
expect_exit 1 byre restore two --image k.qcow2 --to nowhere
expect_exit 0 byre restore two --image vm1/disk.qcow2 --to vm1-back --json
expect_json 'len(d["files"]) == 1'
same_layer vm1/disk.qcow2 "$(json 'd["files"][0]["path"]')"
expect_exit 0 byre restore two --image xdisk.qcow2 --flatten --to x.qcow2
same_content vm2/xdisk.qcow2 x.qcow2 qcow2 qcow2
expect_exit 0 byre restore two --image "$T/vm2/disk.qcow2" --flatten --to y.qcow2
same_content vm2/disk.qcow2 y.qcow2 qcow2 qcow2
# The same image twice, or once as another's base: stored and restored once.
expect_exit 0 byre backup --json --name twice o1.qcow2 base.qcow2 o1.qcow2
expect_json 'd["layers_total"] == 2'
expect_exit 0 byre restore twice --to twice-back
expect_equal "$(find twice-back -type f | wc -l)" 2 "files of an image that was given twice"

# --only-top leaves backing layers out.
expect_exit 0 byre backup --json --only-top --name top o5.qcow2
expect_json 'd["layers_total"] == 1'
expect_exit 1 byre restore top --flatten --to flat.qcow2
expect_says "$T/err" 'only-top|backing|base.qcow2'
expect_missing flat.qcow2

# --dry-run commits nothing, and says what it would do.
before=$(archive_count)
qemu-img create -q -f qcow2 fresh.qcow2 8M
random_file fresh 131072 9
guest_write fresh.qcow2 fresh 0
find repo -type f | sort >files
expect_exit 0 byre backup --dry-run --json fresh.qcow2
expect_json 'd["bytes_new"] >= 131072 and d["layers_total"] == 1'
find repo -type f | sort | cmp - files || fail "a dry run changed the repository"
expect_equal "$(archive_count)" "$before" "archives after a dry run"
expect_exit 0 byre backup --json fresh.qcow2
expect_json 'd["bytes_new"] >= 131072'
nothing_left
