#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# However many threads restore: the same bytes in the same files, each frame read once, and damage
# told in the same way.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

# All kinds in a chain or two: compressed clusters of both types, snapshots that share some, small
# clusters, subclusters, an external data file, encryption, a bitmap, raw.
random_file data 3145728 31
random_file more 1048576 32
truncate -s 24M base.raw
dd if=data of=base.raw bs=1M seek=2 conv=notrunc status=none
qemu-img create -q -f qcow2 -b base.raw -F raw -o cluster_size=4k mid.qcow2
guest_write mid.qcow2 more 1M
io mid.qcow2 'write -P 7 9M 700k' 'write -z 3M 64k' 'write -c -P 9 12M 64k'
qemu-img snapshot -c one mid.qcow2
guest_write mid.qcow2 more 1300K
qemu-img snapshot -c two mid.qcow2
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 -o extended_l2=on,compression_type=zstd top.qcow2 2>/dev/null ||
    qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 -o compression_type=zstd top.qcow2
guest_write top.qcow2 more 5M
io top.qcow2 'write -P 5 2000k 6k' 'write -c -P 6 16M 128k'
qemu-img bitmap --add top.qcow2 marks
truncate -s 16M plain.raw
dd if=data of=plain.raw bs=1M seek=1 conv=notrunc status=none
python3 -c '
import random
r = random.Random(33)
with open("plain.raw", "r+b") as f:
    f.seek(6 << 20)
    f.write(b"".join(b"%012d" % r.randrange(1 << 30) for _ in range(400000)))'
qemu-img convert -f raw -O qcow2 -c plain.raw deflate.qcow2
qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd,cluster_size=16k plain.raw zstd.qcow2
qemu-img create -q -f qcow2 -o data_file=outside.data,data_file_raw=on outside.qcow2 8M
guest_write outside.qcow2 data 1M
luks_tool create -q -f qcow2 --object secret,id=s,data=x -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 secret.qcow2 4M
qemu-io --object secret,id=s,data=x --image-opts -c 'write -q -P 3 1M 300k' \
    driver=qcow2,file.filename=secret.qcow2,encrypt.key-secret=s >"$T/qemu-io"
new_repository
fast_key
expect_exit 0 byre backup --name all top.qcow2 deflate.qcow2 zstd.qcow2 outside.qcow2 secret.qcow2

# holes FILE: where the host's file has data.
holes() {
    python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
at, end = 0, os.fstat(fd).st_size
while at < end:
    try: at = os.lseek(fd, at, os.SEEK_DATA)
    except OSError: break
    stop = os.lseek(fd, at, os.SEEK_HOLE)
    print(at, stop)
    at = stop' "$1"
}

for threads in 1 2 4 7; do
    expect_exit 0 byre restore all --to "by-$threads" --threads "$threads" --verify
    for image in top deflate; do
        for format in qcow2 raw; do
            expect_exit 0 byre restore all --image $image.qcow2 --flatten --format $format \
                --to "by-$threads/$image.flat.$format" --threads "$threads" --verify
        done
    done
    byre restore all --image top.qcow2 --snapshot 1 --format raw --to - --threads "$threads" \
        >"by-$threads/piped" 2>"$T/err" && fail "top has no snapshot"
    byre restore all --image top.qcow2 --format raw --to - --threads "$threads" \
        >"by-$threads/piped" 2>"$T/err" || fail "to a file as stdout: $(cat "$T/err")"
    byre restore all --image top.qcow2 --format raw --to - --threads "$threads" 2>"$T/err" |
        cmp - "by-$threads/piped" || fail "to a pipe: $(cat "$T/err")"
    diff -r by-1 "by-$threads" >"$T/diff" || fail "1 and $threads threads: $(cat "$T/diff")"
    for file in by-1/*.qcow2 by-1/*.raw by-1/*.data; do
        expect_equal "$(holes "$file")" "$(holes "by-$threads/${file#by-1/}")" "holes of ${file#by-1/}"
    done
done
cmp by-1/base.raw base.raw || fail "raw layer"
cmp by-1/outside.data outside.data || fail "data file"
for image in mid top deflate zstd; do same_layer $image.qcow2 by-4/$image.qcow2; done
# Compressed streams bit for bit, each where it was: what is not metadata is as in the source.
python3 - <<'EOF' || fail "compressed streams differ"
import json, subprocess
for name in ("deflate", "zstd"):
    runs = json.loads(subprocess.check_output(["qemu-img", "map", "--output=json", name + ".qcow2"]))
    assert any(r.get("compressed", r["data"] and "offset" not in r) for r in runs)
    a, b = (open(f, "rb").read() for f in (name + ".qcow2", "by-4/" + name + ".qcow2"))
    cluster = {"deflate": 65536, "zstd": 16384}[name]
    bits = cluster.bit_length() - 1
    u64 = lambda d, at: int.from_bytes(d[at:at + 8], "big")
    l1, n = u64(a, 40), int.from_bytes(a[36:40], "big")
    found = 0
    for i in range(n):
        l2 = u64(a, l1 + 8 * i) & 0x00fffffffffffe00
        for k in range(cluster // 8 if l2 else 0):
            e = u64(a, l2 + 8 * k)
            if e >> 62 & 1:
                x = 62 - (bits - 8)
                at = e & (1 << x) - 1
                end = (at & ~511) + ((e >> x & (1 << 62 - x) - 1) + 1) * 512
                # the last sector may hold what follows
                assert a[at:end - 512] == b[at:end - 512]
                found += 1
    assert found > 20, found
EOF

# Each frame once: what is read of the packs of data is not more than they have.
if command -v strace >/dev/null && ! sanitized; then
    expect_exit 0 byre backup --name plain plain.raw
    for threads in 1 4; do
        rm -rf once
        expect_exit 0 env ASAN_OPTIONS=detect_leaks=0 strace -f -y -e trace=pread64 -o "$T/trace" \
            "$BYRE" restore plain --to once --threads "$threads"
        cmp once/plain.raw plain.raw || fail "plain.raw"
        python3 - "$T/trace" <<'EOF' || fail "a frame was read twice, with $threads threads"
import collections, re, sys
reads = collections.Counter()
for line in open(sys.argv[1]):
    m = re.search(r'pread64\(\d+<[^>]*/packs/(\w+)>.*, (\d+), (\d+)(\) += |\s+<unfinished)', line)
    if m and int(m[2]) > 200000:  # frames; trailers are smaller
        reads[m[1], m[3]] += 1
assert reads and max(reads.values()) == 1, reads
EOF
    done
fi

# A frame in the middle is damaged: whoever restores says so, and nothing gets its name.
python3 - "$BYRE_REPOSITORY/packs" <<'EOF'
import os, sys
largest = max((os.path.join(sys.argv[1], n) for n in os.listdir(sys.argv[1])), key=os.path.getsize)
with open(largest, "r+b") as f:
    f.seek(os.path.getsize(largest) // 2)
    c = f.read(1)
    f.seek(-1, 1)
    f.write(bytes([c[0] ^ 1]))
EOF
for threads in 1 4; do
    expect_exit 4 byre restore all --to damaged --threads "$threads"
    expect_says "$T/err" 'packs/[0-9a-f]{32}: frame [0-9]+'
    expect_empty_folder damaged
done
