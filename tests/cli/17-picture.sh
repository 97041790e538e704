#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What people look at: pictures of disks and of their changes, against qemu-img map; trees; widths.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3
export LC_ALL=C

# narrow FILE...: no line has more than 80 columns.
narrow() {
    python3 -c '
import sys
for name in sys.argv[1:]:
    for line in open(name, encoding="utf-8"):
        line = line.rstrip("\n")
        assert len(line) <= 80, f"{len(line)} columns: {line}"' "$@" || fail "wider than 80 columns"
}

# The cells of the picture of IMAGE, as qemu-img map has its guest's data. usage: IMAGE < picture
cat >oracle.py <<'END'
import json, re, subprocess, sys
image, utf8 = sys.argv[1], len(sys.argv) > 2
signs = " \u2591\u2592\u2593\u2588" if utf8 else " .:+#"
text = sys.stdin.buffer.read().decode("utf-8" if utf8 else "ascii", "replace")
rows = re.findall("^ *[0-9.]+ [KMGTPE]?i?B [|\u2502](.*)[|\u2502]$", text, re.M)
size = int(re.search(r"one cell: ([0-9]+) ([KMGTPE])", text)[1])
cell = size << 10 * (1 + "KMGTPE".index(re.search(r"one cell: ([0-9]+) ([KMGTPE])", text)[2]))
info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", image]))
virtual = info["virtual-size"]
count = -(-virtual // cell)
data = [0] * count
for r in json.loads(subprocess.check_output(["qemu-img", "map", "--output=json", image])):
    at, end = r["start"], r["start"] + r["length"]
    while r["data"] and at < end:
        here = min(end, (at // cell + 1) * cell)
        data[at // cell] += here - at
        at = here
def level(i):
    share = data[i] / min(cell, virtual - i * cell)
    return 0 if not share else 1 if share <= .25 else 2 if share <= .5 else 3 if share <= .75 else 4
want = "".join(signs[level(i)] for i in range(count))
got = "".join(rows)
assert got == want, f"\n{got!r} is not\n{want!r}"
assert len(rows) <= 16 and count > 256 or virtual < 1 << 21, f"{len(rows)} rows, {count} cells"
print(f"{image}: {count} cells of {cell} bytes, {count - want.count(chr(32))} with data")
END

# pictured NAME IMAGE: the picture is what qemu-img map says, in both sets of letters.
pictured() {
    expect_exit 0 byre show "name:$1" --map
    narrow "$T/out"
    python3 oracle.py "$2" <"$T/out" || fail "picture of $1"
    LC_ALL=C.UTF-8 expect_exit 0 byre show "name:$1" --map
    narrow "$T/out"
    python3 oracle.py "$2" utf8 <"$T/out" || fail "picture of $1"
}

new_repository
fast_key

# Known places; a chain; all kinds of sizes; the guest's view whatever the layer.
qemu-img create -q -f qcow2 base.qcow2 64M
io base.qcow2 'write -P 1 0 1M' 'write -P 2 8M 4M' 'write -P 3 40M 64k' 'write -P 4 63M 1M'
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 80M
io top.qcow2 'write -P 5 20M 64k' 'write -z 9M 1M' 'write -P 6 11M 3M' 'write -P 7 79M 1M'
expect_exit 0 byre backup --name base base.qcow2
expect_exit 0 byre backup --name top top.qcow2
pictured base base.qcow2
pictured top top.qcow2
expect_says "$T/out" 'top.qcow2, 80 MiB: .* MiB of data'
expect_says "$T/out" '[0-9.]+ MiB of base.qcow2'
qemu-img create -q -f qcow2 -o cluster_size=512 small.qcow2 3145216
io small.qcow2 'write -P 1 512 512' 'write -P 1 1M 20k' 'write -P 1 3144704 512'
expect_exit 0 byre backup --name small small.qcow2
pictured small small.qcow2
# A disk of which only a little can be told apart: whole subtrees are counted, unread.
qemu-img create -q -f qcow2 -o cluster_size=2M large.qcow2 5T
python3 -c '
import random
r = random.Random(17)
for at in range(0, 5 << 40, 40 << 30):
    print(f"write -q -P 1 {at + (r.randrange(20 << 30) & -(2 << 20))} {r.randrange(1, 5) * 2}M")
print(f"write -q -P 1 {(5 << 40) - (2 << 20)} 2M")' | qemu-io -f qcow2 --cache unsafe large.qcow2 >"$T/qemu-io"
! grep -qi fail "$T/qemu-io" || fail "qemu-io"
expect_exit 0 byre backup --name large large.qcow2
pictured large large.qcow2
qemu-img create -q -f qcow2 -b large.qcow2 -F qcow2 above.qcow2 6T
io above.qcow2 'write -P 5 3T 2M' 'write -P 5 5632G 2M' 'write -z 0 1M'
expect_exit 0 byre backup --name above above.qcow2
pictured above above.qcow2
qemu-img create -q -f qcow2 empty.qcow2 1G
expect_exit 0 byre backup --name empty empty.qcow2
pictured empty empty.qcow2

# Changes: known writes are in known cells.
rows() { sed -n 's/^ *[0-9.]* [KMG]*i*B |\(.*\)|$/\1/p' "$T/out"; }
row() { printf '%-64s\n' "$(printf "%0$1d" 0 | tr 0 "$2")$(printf "%0$3d" 0 | tr 0 "$4")"; }
cp base.qcow2 was.qcow2
io base.qcow2 'write -P 9 0 1M' 'write -z 8M 1M' 'write -P 8 28M 3M' 'write -P 3 40M 64k'
expect_exit 0 byre backup --name changed base.qcow2
expect_exit 0 byre diff base changed --map
narrow "$T/out"
rows >got
{
    row 16 '*' 48 ' '
    row 64 ' ' 0 ' '
    row 16 '-' 48 '.'
    for i in 3 4 5 6; do row 64 ' ' 0 ' '; done
    row 48 '+' 16 ' '
    for i in 8 9; do row 64 ' ' 0 ' '; done
    row 1 '.' 63 ' '
    for i in 11 12 13 14; do row 64 ' ' 0 ' '; done
    row 48 ' ' 16 '.'
} | cut -c 1-64 >want
diff want got || fail "the picture of what changed"
expect_says "$T/out" 'unchanged 4.1 MiB, \* changed 1 MiB, \+ new 3 MiB, - gone 1 MiB'
expect_exit 0 byre diff base base --map
expect_says "$T/out" 'unchanged 6.1 MiB, \* changed 0 B, \+ new 0 B, - gone 0 B'
expect_exit 0 byre backup --name two base.qcow2 small.qcow2
expect_exit 0 byre diff two small --map
expect_says "$T/out" 'base.qcow2, 64 MiB: removed'
expect_says "$T/out" 'unchanged 0 B, \* changed 0 B, \+ new 0 B, - gone 8.1 MiB'
rm was.qcow2

# A file for a report: whole and valid, whatever things are called; nothing is overwritten.
name=$'a<b>&"\'--]]>\x1b[31m\xff\xef\xbf\xbe.qcow2'
cp base.qcow2 "$name"
expect_exit 0 byre backup --name 'n<&>"' "$name" top.qcow2
mkdir report
LC_ALL=C.UTF-8 expect_exit 0 byre show latest --svg report/show.svg
expect_exit 0 byre diff base latest --svg report/diff.svg --json
expect_json 'len(d) == 2'
expect_equal "$(cd report && echo *)" 'diff.svg show.svg'
if command -v xmllint >/dev/null; then
    xmllint --noout report/show.svg report/diff.svg || fail "no valid XML"
fi
python3 - <<'END' || fail "what the files hold"
import xml.etree.ElementTree as tree
s = "{http://www.w3.org/2000/svg}"
for name, images in ("show", 2), ("diff", 2):
    root = tree.parse(f"report/{name}.svg").getroot()
    assert root.tag == s + "svg" and "n<&>\"" in root.find(s + "title").text, name
    assert len(root.findall(s + "g")) == images, name
    assert not any(t.tag.split("}")[1] not in "svg title style text g rect path".split() for t in root.iter()), name
    assert float(root.get("height")) == float(root.get("viewBox").split()[3]) > max(
        float(t.get("y")) for t in root.iter(s + "text")), name
    assert any("a<b>&\"'--]]>" in t.text for t in root.iter(s + "text")), name
    assert sum(p.get("d").count("M") for p in root.iter(s + "path")) > 4, name
END
fingerprint report/show.svg >before
expect_exit 1 byre show latest --svg report/show.svg
expect_says "$T/err" 'show.svg.*--force'
expect_silent "$T/out"
fingerprint report/show.svg | diff before - || fail "it was overwritten"
expect_exit 0 byre show latest --svg report/show.svg --force
expect_exit 1 byre show latest --svg report --force
expect_equal "$(cd report && echo *)" 'diff.svg show.svg'
expect_exit 1 byre diff base latest --svg /dev/full/x.svg
expect_exit 2 byre show latest --map --json
expect_exit 2 byre show latest --force
expect_exit 2 byre show latest --image top.qcow2
# One of the images, and no other.
expect_exit 0 byre show latest --map --image top.qcow2
python3 oracle.py top.qcow2 <"$T/out" || fail "one of two"
expect_exit 1 byre show latest --map --image no.qcow2
expect_says "$T/err" 'no image no.qcow2, but: .*top.qcow2'
expect_exit 1 byre restore latest --to x --image no.qcow2
expect_says "$T/err" 'no image no.qcow2, but: .*top.qcow2'
expect_exit 1 byre diff base latest --image no.qcow2
expect_says "$T/err" 'an image no.qcow2, but: .*top.qcow2'
# It takes no key that opens data, and no colours where there is no terminal.
(umask 077 && printf 'a%.0s' {1..64} >append.key)
expect_exit 0 byre key add --role append --new-key-file append.key
expect_exit 0 byre --key-file append.key show small --map
python3 oracle.py small.qcow2 <"$T/out" || fail "with an append key"
! grep -q $'\x1b' "$T/out" || fail "colours without a terminal"
colours() { script -qec "$*" /dev/null <"/dev/null" >"$T/out" 2>&1 || fail "$*"; }
if command -v script >/dev/null; then
    TERM=xterm colours "'$BYRE' show top --map"
    grep -q $'\x1b\\[0;3[26]m' "$T/out" || fail "no colours on a terminal"
    NO_COLOR=1 TERM=xterm colours "'$BYRE' show top --map"
    ! grep -q $'\x1b\\[0;3' "$T/out" || fail "colours in spite of NO_COLOR"
fi

# Long names, deep chains: within 80 columns, and whole with -v.
long=$(printf 'x%.0s' {1..120})
mkdir "d-$long"
cp base.qcow2 "d-$long/$long.qcow2"
below=d-$long/$long.qcow2
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    qemu-img create -q -f qcow2 -b "$T/$below" -F qcow2 "d-$long/$i.qcow2"
    below=d-$long/$i.qcow2
done
qemu-img snapshot -c "snapshot $long" "$below"
qemu-img bitmap --add "$below" "bitmap-$long"
cp top.qcow2 "$long"
expect_exit 0 byre backup --name "n-$long" --tag "t-$long" --tag other "$below" "d-$long/3.qcow2" --with "$long"
for letters in C C.UTF-8; do
    LC_ALL=$letters expect_exit 0 byre show latest --map
    narrow "$T/out"
    LC_ALL=$letters expect_exit 0 byre diff base latest --map
    narrow "$T/out"
done
expect_exit 0 byre show latest
expect_says "$T/out" '^ +`- .*\.\.\..*'
expect_equal "$(grep -c 'as above' "$T/out")" 4
expect_exit 0 byre show latest -v
expect_says "$T/out" "snapshot 1 \"snapshot $long\""
expect_says "$T/out" "$T/d-$long/$long.qcow2"
expect_says "$T/out" "t-$long"
LC_ALL=C.UTF-8 expect_exit 0 byre show latest
expect_says "$T/out" '└─ .*…'

# Lists, too; and a part of them.
expect_exit 0 byre list
narrow "$T/out"
expect_says "$T/out" '^[0-9]+ archives$'
expect_exit 0 byre list -v
expect_says "$T/out" "n-$long"
expect_exit 0 byre list --tag other --host "$(hostname)"
expect_says "$T/out" '^1 archive of [0-9]+$'
expect_exit 0 byre list --host elsewhere
expect_silent "$T/out"
expect_exit 0 byre forget --dry-run --keep-last 1 --keep-tag "t-$long"
narrow "$T/out"
expect_says "$T/out" 'keep .*n-x.*\.\.\.'
expect_exit 0 byre forget --dry-run --keep-last 1 --tag other --json
expect_json 'len(d["kept"]) == 1 and not d["forgotten"]'
expect_exit 0 byre forget --dry-run --keep-last 1 --host elsewhere --json
expect_json 'not d["kept"] and not d["forgotten"]'
expect_exit 2 byre forget latest --tag other
