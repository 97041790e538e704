#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Where two archives' disks differ: nothing is missed, and little more than that is told.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

# The oracle: what qemu-img makes of the images at the time of their backups, compared block by block.
# usage: A.raw B.raw DIFF.json IMAGE [OFFSET:LENGTH of what was moved between layers]...
cat >oracle.py <<'END'
import json, sys
CHUNK = 256 << 10
a, b = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read()
d = next(i for i in json.load(open(sys.argv[3])) if i["image"] == sys.argv[4])
assert (d["virtual_size_a"], d["virtual_size_b"]) == (len(a), len(b)), "sizes"
size = max(len(a), len(b))
a, b = a.ljust(size, b"\0"), b.ljust(size, b"\0")
told, last, sums = bytearray(size // 512 + 1), None, {"data": 0, "zero": 0}
for r in d["ranges"]:
    at, end, kind = r["offset"], r["offset"] + r["length"], r["kind"]
    assert r["length"] > 0 and end <= size, f"{r}: size {size}"
    assert last is None or at > last[0] or (at == last[0] and kind != last[1]), f"{r} after {last}"
    if kind == "zero": assert not any(b[at:end]), f"{r}: no zeros"
    told[at // 512:(end + 511) // 512] = b"\1" * ((end + 511) // 512 - at // 512)
    last = end, kind
    sums[kind] += end - at
assert (d["bytes_changed"], d["bytes_zeroed"]) == (sums["data"], sums["zero"]), "sums"
may = set()
def allow(at, end): may.update(range(at // CHUNK - 1, (end - 1) // CHUNK + 2))
differ = 0
for at in range(0, size, 512):
    if a[at:at + 512] != b[at:at + 512]:
        assert told[at // 512], f"{at} differs, and is in no range"
        allow(at, at + 512)
        differ += 512
for moved in sys.argv[5:]:
    at, length = map(int, moved.split(":"))
    allow(at, at + length)
assert sum(sums.values()) <= len(may) * CHUNK, f"{sums}: {len(may)} chunks could differ"
print(f"{sys.argv[4]}: {differ} bytes differ, {sums} told")
END

# take NAME IMAGE FORMAT: an archive, and NAME.raw for the oracle.
take() {
    expect_exit 0 byre backup --name "$1" "$2"
    qemu-img convert -f "$3" -O raw "$2" "$1.raw"
}

# differ A B IMAGE [MOVED]...: both ways.
differ() {
    local image=$3
    expect_exit 0 byre diff --json "name:$1" "name:$2"
    python3 oracle.py "$1.raw" "$2.raw" "$T/out" "$image" "${@:4}" || fail "diff $1 $2"
    expect_exit 0 byre diff --json "name:$2" "name:$1"
    python3 oracle.py "$2.raw" "$1.raw" "$T/out" "$image" "${@:4}" || fail "diff $2 $1"
}

# equal A B: not a single range.
equal() {
    expect_exit 0 byre diff --json "name:$1" "name:$2"
    expect_json 'not any(i["ranges"] or i["bytes_changed"] or i["bytes_zeroed"] for i in d)'
}

new_repository
fast_key
random_file data 8388608 31
random_file other 1048576 32
random_file small 4096 33

# Written, zeroed, discarded, in clusters of every kind.
for options in cluster_size=512 cluster_size=4k cluster_size=64k cluster_size=2M \
    cluster_size=64k,extended_l2=on; do
    rm -f disk.qcow2
    qemu-img create -q -f qcow2 -o "$options" disk.qcow2 40M
    guest_write disk.qcow2 data 3M
    guest_write disk.qcow2 data 20M
    take before disk.qcow2 qcow2
    equal before before
    guest_write disk.qcow2 small 5M
    guest_write disk.qcow2 other 30M
    io disk.qcow2 'write -z 6M 300k' 'discard 8M 512k' 'write -P 7 21M 512' 'write -z 22528k 4k' \
        'write -z 39M 1M'
    take after disk.qcow2 qcow2
    differ before after disk.qcow2
    expect_exit 0 byre diff --json name:before name:after
    expect_json 'd[0]["bytes_changed"] >= 1 << 20 and d[0]["bytes_zeroed"] > 0'
    take again disk.qcow2 qcow2
    equal after again
done

# The same chunk, moved by less than its length.
head -c 16384 data >chunk
qemu-img create -q -f qcow2 -o cluster_size=4k move.qcow2 8M
guest_write move.qcow2 chunk 1M
take v0 move.qcow2 qcow2
io move.qcow2 'discard 1M 4k'
guest_write move.qcow2 chunk 1028k
take v1 move.qcow2 qcow2
differ v0 v1 move.qcow2

# An overlay shows what is below it; what is written there first equal, then not.
qemu-img create -q -f qcow2 base.qcow2 40M
guest_write base.qcow2 data 0
guest_write base.qcow2 data 24M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o cluster_size=4k top.qcow2
take c0 top.qcow2 qcow2
guest_write top.qcow2 other 1M
guest_write top.qcow2 small 25M
io top.qcow2 'write -z 27M 64k' 'write -P 5 39M 64k'
take c1 top.qcow2 qcow2
differ c0 c1 top.qcow2
# Its own clusters alone are told: the layer below is the same.
expect_exit 0 byre diff --json c0 c1
expect_json '[r for r in d[0]["ranges"] if r["kind"] == "zero"] == [{"offset": 27 << 20, "length": 65536, "kind": "zero"}]'
expect_json 'd[0]["bytes_changed"] == 1048576 + 4096 + 65536'
# Committed into the base, and then without the overlay.
qemu-img commit -q -f qcow2 top.qcow2
take c2 top.qcow2 qcow2
moved=(1048576:1048576 26214400:4096 28311552:65536 40894464:65536)
differ c0 c2 top.qcow2
differ c1 c2 top.qcow2 "${moved[@]}"
take c3 base.qcow2 qcow2
expect_exit 0 byre diff --json c2 c3
expect_json 'd[0]["image"] == "base.qcow2" and len(d) == 1 and d[0]["ranges"] == []'
# Rebased: to a base that differs, without a change of what the guest sees; and to none.
cp base.qcow2 base2.qcow2
guest_write base2.qcow2 small 2M
guest_write top.qcow2 small 12M
take r0 top.qcow2 qcow2
qemu-img rebase -f qcow2 -b base2.qcow2 -F qcow2 top.qcow2
take r1 top.qcow2 qcow2
differ r0 r1 top.qcow2 2097152:4096
qemu-img rebase -u -f qcow2 -b base2.qcow2 -F qcow2 top.qcow2
guest_write base2.qcow2 small 3M
take r2 top.qcow2 qcow2
differ r1 r2 top.qcow2
qemu-img rebase -f qcow2 -b '' top.qcow2
take r3 top.qcow2 qcow2
differ r2 r3 top.qcow2 0:41943040
# One more overlay of another name: the same disk, for the old one is below it.
qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 snap.qcow2
take s0 snap.qcow2 qcow2
equal r3 s0
expect_exit 0 byre diff --json r3 s0
expect_json 'len(d) == 1 and d[0]["image"] == "snap.qcow2" and d[0]["virtual_size_a"] == 41943040'
guest_write snap.qcow2 small 7M
take s1 snap.qcow2 qcow2
expect_exit 0 byre diff --json r3 s1
python3 oracle.py r3.raw s1.raw "$T/out" snap.qcow2 || fail "an overlay put on top"
expect_exit 0 byre diff --json s1 r3
python3 oracle.py s1.raw r3.raw "$T/out" top.qcow2 || fail "an overlay taken away"

# Resized: what the larger one has behind the end of the smaller one, and what reads as zeros there.
qemu-img create -q -f qcow2 grow.qcow2 10M
guest_write grow.qcow2 other 9M
take g0 grow.qcow2 qcow2
qemu-img resize -q -f qcow2 grow.qcow2 300M
take g1 grow.qcow2 qcow2
equal g0 g1
expect_exit 0 byre diff --json g0 g1
expect_json 'd[0]["virtual_size_a"] == 10 << 20 and d[0]["virtual_size_b"] == 300 << 20'
guest_write grow.qcow2 small 12M
guest_write grow.qcow2 small 299M
take g2 grow.qcow2 qcow2
differ g0 g2 grow.qcow2
differ g1 g2 grow.qcow2
expect_exit 0 byre diff --json g2 g0
expect_json '[r["kind"] for r in d[0]["ranges"]] == ["zero", "zero"] and d[0]["bytes_zeroed"] == 8192'
qemu-img resize -q -f qcow2 --shrink grow.qcow2 9728k
take g3 grow.qcow2 qcow2
differ g2 g3 grow.qcow2
# A short layer in the middle ends what shows of the one below.
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 short.qcow2 30M
qemu-img create -q -f qcow2 -b short.qcow2 -F qcow2 long.qcow2 40M
take l0 long.qcow2 qcow2
qemu-img resize -q -f qcow2 --shrink short.qcow2 25000k
take l1 long.qcow2 qcow2
differ l0 l1 long.qcow2
qemu-img rebase -u -f qcow2 -b base.qcow2 -F qcow2 long.qcow2
take l2 long.qcow2 qcow2
differ l0 l2 long.qcow2

# A raw base that ends anywhere, and a raw image.
{ cat data; head -c 1536 other; } >disk.raw
qemu-img create -q -f qcow2 -b disk.raw -F raw over.qcow2 16M
take w0 over.qcow2 qcow2
take x0 disk.raw raw
dd if=other of=disk.raw bs=512 count=9 seek=4001 conv=notrunc status=none
truncate -s 9000448 disk.raw
dd if=other of=disk.raw bs=512 count=3 seek=17500 conv=notrunc status=none
guest_write over.qcow2 small 15M
take w1 over.qcow2 qcow2
take x1 disk.raw raw
differ w0 w1 over.qcow2
differ x0 x1 disk.raw

# Chains at random: the same seed makes the same disks.
cat >chain.py <<'END'
import random, subprocess, sys
r = random.Random(int(sys.argv[1]))
def run(*command): subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
MIB, blocks = 1 << 20, open("data", "rb").read()
def write(image, n):
    commands = []
    for i in range(n):
        at, length = r.randrange(0, 11 * MIB, 512), r.randrange(512, r.choice((4096, 70000, MIB)), 512)
        kind = r.randrange(4)
        if kind == 0: commands += ["-c", f"write -z {at} {length}"]
        elif kind == 1: commands += ["-c", f"discard {at} {length}"]
        else:
            name = f"piece{i}"
            start = r.randrange(0, len(blocks) - length, 512)
            open(name, "wb").write(blocks[start:start + length])
            commands += ["-c", f"write -q -s {name} {at} {length}"]
    run("qemu-io", "-f", "qcow2", *commands, image)
def create(image, base):
    options = f"cluster_size={r.choice((512, 4096, 65536, 1 << 20))}"
    size = r.choice((9 * MIB + 512, 12 * MIB, 16 * MIB)) if base else 12 * MIB
    run("qemu-img", "create", "-f", "qcow2", "-o", options,
        *(("-b", base, "-F", "qcow2") if base else ()), image, str(max(size, 12 * MIB)))
if sys.argv[2] == "make":
    create("l0", None); write("l0", 20)
    create("l1", "l0"); write("l1", 8)
    create("disk", "l1"); write("disk", 5)
else:
    for what in r.sample(("write", "commit", "flatten", "write", "base"), 2):
        if what == "write": write("disk", 4)
        elif what == "commit": run("qemu-img", "commit", "-f", "qcow2", "-b", "l0", "disk")
        elif what == "flatten": run("qemu-img", "rebase", "-f", "qcow2", "-b", "", "disk")
        elif what == "base": write("l1", 3)
END
for seed in 1 2 3 4 5 6 7 8; do
    rm -rf random
    mkdir random
    ln -s "$T/data" random/data
    (cd random && python3 ../chain.py "$seed" make)
    take random0 random/disk qcow2
    (cd random && python3 ../chain.py "$((seed + 100))" change)
    take random1 random/disk qcow2
    differ random0 random1 disk 0:16777216
done

# Images by path, by name where that is unambiguous, added and removed; and one of them alone.
mkdir p q u v
for name in p/one q/one two three; do
    qemu-img create -q -f qcow2 "$name.qcow2" 16M
    guest_write "$name.qcow2" small 1M
done
expect_exit 0 byre backup --name i0 p/one.qcow2 q/one.qcow2 two.qcow2
guest_write q/one.qcow2 small 5M
mv two.qcow2 u/two.qcow2
guest_write u/two.qcow2 small 9M
expect_exit 0 byre backup --name i1 three.qcow2 u/two.qcow2 q/one.qcow2
expect_exit 0 byre diff --json i0 i1
expect_json '[(__import__("os").path.relpath(i["path"]), i["virtual_size_a"], i["virtual_size_b"], len(i["ranges"])) for i in d] == [("three.qcow2", None, 16777216, 0), ("u/two.qcow2", 16777216, 16777216, 1), ("q/one.qcow2", 16777216, 16777216, 1), ("p/one.qcow2", 16777216, None, 0)]'
expect_exit 0 byre diff i0 i1
expect_says "$T/out" 'three.qcow2, 16 MiB: added'
expect_says "$T/out" 'p/one.qcow2, 16 MiB: removed'
expect_says "$T/out" '^1 range: 4 KiB changed, 0 B zeroed'
expect_says "$T/out" '9 MiB +4 KiB +data'
expect_exit 0 byre diff i0 i1 --image q/one.qcow2 --json
expect_json 'len(d) == 1 and d[0]["ranges"] == [{"offset": 5242880, "length": 4096, "kind": "data"}]'
expect_exit 2 byre diff i0 i1 --image one.qcow2
expect_says "$T/err" 'ambiguous'
expect_exit 1 byre diff i0 i1 --image four.qcow2
mv p/one.qcow2 u/one.qcow2
mv q/one.qcow2 v/one.qcow2
expect_exit 0 byre backup --name i2 u/one.qcow2 v/one.qcow2
expect_exit 0 byre diff --json i0 i2
expect_json '[(i["virtual_size_a"], i["virtual_size_b"]).count(None) for i in d] == [1] * 5'

# For people: the first ranges in their units; with -v all of them in bytes.
qemu-img create -q -f qcow2 many.qcow2 64M
take m0 many.qcow2 qcow2
for ((i = 0; i < 25; i++)); do echo "write -P $((i + 1)) $((2 * i)).5M 64k"; done | qemu-io -f qcow2 many.qcow2 >"$T/qemu-io"
take m1 many.qcow2 qcow2
expect_exit 0 byre diff m0 m1
expect_equal "$(grep -c data "$T/out")" 20
expect_says "$T/out" '^and 5 more'
expect_says "$T/out" '^25 ranges: 1.6 MiB changed'
expect_silent "$T/err"
expect_exit 0 byre diff m0 m1 -v
expect_equal "$(grep -c data "$T/out")" 25
expect_says "$T/out" '^ +50855936 +65536 +data'
expect_exit 0 byre diff m0 m0
expect_says "$T/out" 'no difference'

# Without the key that opens data; not without the base that an archive left out.
(umask 077 && printf 'a%.0s' {1..64} >append.key)
expect_exit 0 byre key add --role append --new-key-file append.key
expect_exit 0 byre --key-file append.key diff --json m0 m1
expect_json 'd[0]["bytes_changed"] == 25 * 65536'
expect_exit 12 byre --key-file append.key restore m0 --to no
expect_exit 0 byre backup --only-top --name only long.qcow2
expect_exit 1 byre diff l2 only
expect_says "$T/err" 'base.qcow2 is not part of archive'
expect_silent "$T/out"
expect_exit 1 byre diff m0 no-such
expect_exit 2 byre diff m0
expect_exit 2 byre diff m0 m1 m0
# Nobody reads it, or nobody can.
# shellcheck disable=SC2016
[ ! -w /dev/full ] || {
    expect_exit 1 bash -c '"$BYRE" diff --json m0 m1 >/dev/full'
    expect_exit 1 bash -c '"$BYRE" diff -v m0 m1 >/dev/full'
}

# What is equal is not walked: a large disk costs what its changes cost. qemu-img made the tables.
qemu-img create -q -f qcow2 large.qcow2 1T
python3 -c '
for i in range(1024): print(f"write -q -P {i % 255 + 1} {i}G 64k")' | qemu-io -f qcow2 --cache unsafe large.qcow2 >"$T/qemu-io"
! grep -qi fail "$T/qemu-io" || fail "qemu-io"
expect_exit 0 byre backup --name t0 large.qcow2
qemu-img create -q -f qcow2 -b large.qcow2 -F qcow2 above.qcow2
io above.qcow2 'write -P 1 512G 64k' 'write -z 700G 64k' 'write -P 9 1023.5G 64k'
expect_exit 0 byre backup --name t1 above.qcow2
expect_exit 0 byre diff --json t0 t1
expect_json '[(r["offset"] >> 20, r["length"], r["kind"]) for r in d[0]["ranges"]] == [(512 << 10, 65536, "data"), (700 << 10, 65536, "zero"), (2047 << 9, 65536, "data")]'
qemu-img resize -q -f qcow2 large.qcow2 2T
expect_exit 0 byre backup --name t2 large.qcow2
equal t0 t2
if ! sanitized; then
    python3 -c '
import os, resource, subprocess, sys
subprocess.run([os.environ["BYRE"], "diff", "--json", "t0", "t1"], check=True, stdout=subprocess.DEVNULL)
r = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"1 TiB: {r.ru_utime + r.ru_stime:.3f} s")
sys.exit(r.ru_utime + r.ru_stime >= 1)' || fail "1 TiB takes a second and more"
fi
# reads A B: how many bytes of packs a diff reads. Each run is a chunk, so that leaves are large.
reads() {
    strace -f -qq -y -s 0 -o strace.out -e trace=read,pread64 "$BYRE" diff --json "$1" "$2" >"$T/out" || fail "diff $1 $2"
    python3 -c '
import re
print(sum(int(m[1]) for m in re.finditer(r"/packs/[^\n]* = (\d+)$", open("strace.out").read(), re.M)))'
}
if command -v strace >/dev/null && ! sanitized; then
    python3 -c '
import random
r = random.Random(34)
with open("dense.raw", "wb") as f:
    for at in range(0, 1 << 30, 32768):
        f.seek(at)
        f.write(r.randbytes(16384))
    f.truncate(1 << 30)'
    expect_exit 0 byre backup --name d0 dense.raw
    dd if=small of=dense.raw bs=4096 seek=100000 conv=notrunc status=none
    expect_exit 0 byre backup --name d1 dense.raw
    rm dense.raw
    truncate -s 1G dense.raw
    expect_exit 0 byre backup --name d2 dense.raw
    all=$(reads d2 d0) few=$(reads d0 d1)
    expect_json 'len(d[0]["ranges"]) == 1 and 4096 <= d[0]["bytes_changed"] <= 524288'
    none=$(reads d0 d0)
    echo "reads $none bytes where all is equal, $few where a block is not, $all where nothing is"
    [ "$few" -lt $((all / 2)) ] || fail "reads $few bytes, where nothing is equal $all"
    [ "$none" -lt $((all / 4)) ] || fail "reads $none bytes, where nothing is equal $all"
fi

# Ciphertext: what was written anew is told, what was not is not.
secret=(--object 'secret,id=s,data=secret')
luks() { # luks IMAGE COMMAND...
    local image=$1 command args=()
    shift
    for command; do args+=(-c "$command"); done
    qemu-io "${secret[@]}" --image-opts "driver=qcow2,file.filename=$image,encrypt.key-secret=s" \
        "${args[@]}" >"$T/qemu-io" || fail "qemu-io: $image"
}
luks_tool create -q "${secret[@]}" -f qcow2 \
    -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 luks.qcow2 40M
luks luks.qcow2 "write -q -s data 3M 8M"
expect_exit 0 byre backup --name e0 luks.qcow2
expect_exit 0 byre backup --name e1 luks.qcow2
equal e0 e1
luks luks.qcow2 'write -P 3 4M 64k' 'write -z 5M 64k' 'write -P 3 30M 64k'
expect_exit 0 byre backup --name e2 luks.qcow2
expect_exit 0 byre diff --json e1 e2
expect_json 'd[0]["encrypted"] and 131072 <= d[0]["bytes_changed"] < 2 << 20'
expect_json '[any(r["offset"] <= at << 20 and r["offset"] + r["length"] >= (at << 20) + 65536 and r["kind"] == kind for r in d[0]["ranges"]) for at, kind in ((4, "data"), (5, "zero"), (30, "data"))] == [True] * 3'
expect_exit 0 byre diff e1 e2
expect_says "$T/out" 'encrypted: ranges of the ciphertext'
