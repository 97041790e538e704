#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# An exported tar needs no byre: tar unpacks it, sha256sum verifies it, QEMU runs what is in it.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 tar sha256sum zstd gzip

# A chain of three with snapshots, compressed clusters and a raw base that ends anywhere.
random_file data 3145728 61
mkdir vm
{ cat data; head -c 1536 data; } >vm/base.raw
truncate -s 20000256 vm/base.raw
qemu-img create -q -f qcow2 -b base.raw -F raw vm/mid.qcow2 40M
guest_write vm/mid.qcow2 data 5M
qemu-img snapshot -c first vm/mid.qcow2
guest_write vm/mid.qcow2 data 8M
qemu-img snapshot -c second vm/mid.qcow2
qemu-img create -q -f qcow2 -b "$T/vm/mid.qcow2" -F qcow2 vm/db.qcow2
io vm/db.qcow2 'write -c -P 5 1M 512k' 'write -z 6M 1M' 'write -P 7 20M 64k' 'discard 20M 4k'
chmod 640 vm/db.qcow2
touch -d '2020-02-02 02:02:02.123456789' vm/db.qcow2
echo '<domain/>' >domain.xml
new_repository
fast_key
expect_exit 0 byre backup --tag nightly --with domain.xml vm/db.qcow2

# as_exported FOLDER: what is in it is the chain, and it says so itself.
as_exported() {
    (cd "$1" && sha256sum --quiet -c SHA256SUMS) || fail "sha256sum -c in $1"
    cmp vm/base.raw "$1/base.raw"
    same_layer vm/mid.qcow2 "$1/mid.qcow2"
    clean_qcow2 "$1/db.qcow2"
    same_content vm/db.qcow2 "$1/db.qcow2" qcow2 qcow2
    qemu-img snapshot -a second "$1/mid.qcow2"
    cmp domain.xml "$1/side-files/domain.xml"
}

mkdir spool
expect_exit 0 env TMPDIR="$T/spool" "$BYRE" export latest -o x.tar --json
expect_json 'd["message_type"] == "summary" and d["since"] is None and d["path"] == "x.tar"'
expect_json '[f["path"] for f in d["files"]] == ["base.raw", "mid.qcow2", "db.qcow2", "side-files/domain.xml"]'
expect_json 'd["files"][0]["bytes"] == 20000256 and len(d["files"][0]["layer"]) == 64 and d["files"][3]["layer"] is None'
expect_json 'd["bytes_written"] == __import__("os").stat("x.tar").st_size'
expect_says "$T/err" 'db.qcow2: its backing file is now called mid.qcow2'
expect_empty_folder spool
[ "$(stat -c %a x.tar)" = 600 ] || fail "others can read the tar"
# Holes are no bytes of the tar.
[ "$(stat -c %s x.tar)" -lt 12000000 ] || fail "the tar has $(stat -c %s x.tar) bytes"

# The manifest is first, and the sums are last.
expect_equal "$(tar tf x.tar | tr '\n' ' ')" 'manifest.json base.raw mid.qcow2 db.qcow2 side-files/domain.xml SHA256SUMS '
mkdir gnu
tar xf x.tar -C gnu
[ "$(du -k gnu/base.raw | cut -f 1)" -lt 4000 ] || fail "base.raw is not sparse"
expect_equal "$(stat -c '%a %y' gnu/db.qcow2)" '640 2020-02-02 02:02:02.123456789 +0000'
expect_equal "$(python3 -c 'import json; m = json.load(open("gnu/manifest.json")); print(m["name"], m["tags"], m["since"], [i["files"] for i in m["images"]], [f["backing_file"] for f in m["files"]])')" \
    "db ['nightly'] None [['db.qcow2', 'mid.qcow2', 'base.raw']] [None, 'base.raw', 'mid.qcow2', None]"
as_exported gnu
mkdir python
python3 -W ignore -c 'import tarfile; tarfile.open("x.tar").extractall("python")'
as_exported python
if command -v bsdtar >/dev/null; then
    mkdir bsd
    bsdtar xf x.tar -C bsd
    as_exported bsd
else
    echo "bsdtar is not installed"
fi
rm -r gnu python bsd

# By suffix, and through a pipe.
for suffix in zst gz; do
    expect_exit 0 byre export latest -o "x.tar.$suffix"
    mkdir "$suffix"
    tar xf "x.tar.$suffix" -C "$suffix"
    as_exported "$suffix"
    rm -r "$suffix"
done
mkdir pipe
byre export latest -o - --json 2>"$T/err" | tar x -C pipe
expect_json 'd["message_type"] == "summary" and d["path"] == "-"' "$T/err"
as_exported pipe
rm -r pipe
for name in x.zip x .tar x.tar.xz; do
    expect_exit 2 byre export latest -o "$name"
    expect_says "$T/err" 'suffix'
    expect_missing "$name"
done
expect_exit 2 byre export latest
expect_exit 1 byre export no-such -o y.tar
expect_missing y.tar

# Nothing is overwritten, and a failure leaves nothing.
before=$(sha256sum x.tar)
expect_exit 1 byre export latest -o x.tar
expect_says "$T/err" 'x.tar: exists already; --force'
expect_equal "$(sha256sum x.tar)" "$before"
expect_exit 0 byre export latest -o x.tar --force
expect_exit 1 env TMPDIR="$T/absent" "$BYRE" export latest -o y.tar
expect_says "$T/err" 'absent.*temporary'
expect_equal "$(find . -name '*y.tar*')" ''
# shellcheck disable=SC2016
[ ! -w /dev/full ] || expect_exit 1 bash -c '"$BYRE" export latest -o - >/dev/full'
# Nobody reads it to the end: what was read is no whole tar.
(byre export latest -o - 2>"$T/err" && : >"$T/went") | head -c 1000000 >cut.tar || true
expect_missing went
! tar tf cut.tar >/dev/null 2>&1 || fail "half a tar looks whole"
# A signal ends it, also while nobody reads.
mkfifo fifo
"$BYRE" export latest -o - >fifo 2>"$T/err" &
pid=$!
exec {from}<fifo
head -c 1000 <&"$from" >/dev/null
kill -TERM $pid
timeout 20 tail --pid=$pid -f /dev/null || fail "SIGTERM does not end an export"
code=0
wait $pid || code=$?
exec {from}<&-
expect_equal "$code" 143

# Names as they come, holes and nothing else, an empty disk, data files, and images side by side.
mkdir -p many/a many/b
odd=$'many/a/\xc3\xa4 \xff\n.raw'
truncate -s 1M "$odd"
: >many/b/empty.raw
qemu-img create -q -f qcow2 many/b/empty.qcow2 8M
(cd many/b && qemu-img create -q -f qcow2 -o data_file=d.data,data_file_raw=on d.qcow2 4M)
(cd many/b && guest_write d.qcow2 ../../data 0)
expect_exit 0 byre backup --name many "$odd" many/b/empty.raw many/b/empty.qcow2 many/b/d.qcow2
expect_exit 0 byre export many -o many.tar
for reader in tar bsdtar python3; do
    command -v $reader >/dev/null || continue
    rm -rf unpacked
    mkdir unpacked
    case $reader in # GNU tar tells that it ignores hdrcharset
    python3) python3 -W ignore -c 'import tarfile; tarfile.open("many.tar").extractall("unpacked")' ;;
    *) $reader xf many.tar -C unpacked 2>"$T/err" ;;
    esac
    (cd unpacked && sha256sum --quiet -c SHA256SUMS) || fail "$reader"
    cmp "$odd" "unpacked/${odd#many/}"
    cmp many/b/d.data unpacked/b/d.data
    (cd unpacked/b && clean_qcow2 d.qcow2 && qemu-img compare -q -f qcow2 -F raw d.qcow2 d.data)
    expect_equal "$(stat -c '%n %s' unpacked/b/empty.raw)" 'unpacked/b/empty.raw 0'
done
# What would be mistaken for the tar's own files is refused.
truncate -s 1M SHA256SUMS
expect_exit 0 byre backup --name sums SHA256SUMS
expect_exit 1 byre export sums -o y.tar
expect_says "$T/err" 'cannot be called SHA256SUMS'
expect_missing y.tar

# A thousand holes, and clusters that are in no order.
python3 -c '
import random
r = random.Random(7)
with open("holes.raw", "wb") as f:
    for i in range(1000):
        f.seek(r.randrange(0, 1 << 26, 4096)); f.write(r.randbytes(r.choice((4096, 8192))))
    f.truncate(1 << 26)'
expect_exit 0 byre backup --name holes holes.raw
rm -rf unpacked
mkdir unpacked
byre export -q holes -o - | tar x -C unpacked
cmp holes.raw unpacked/holes.raw

# What was left out of the archive is not in the tar.
expect_exit 0 byre backup --only-top --name top vm/db.qcow2
expect_exit 0 byre export top -o top.tar
expect_says "$T/err" 'is not part of the archive'
expect_equal "$(tar tf top.tar | tr '\n' ' ')" 'manifest.json db.qcow2 SHA256SUMS '

# Only who can read disks can export them.
(umask 077 && printf 'a%.0s' {1..64} >append.key)
expect_exit 0 byre key add --role append --new-key-file append.key
expect_exit 12 byre --key-file append.key export latest -o y.tar
expect_missing y.tar

# No room for the copy of a layer.
if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=1M byre-test small 2>/dev/null; then
    at_end "umount '$T/small'"
    expect_exit 1 env TMPDIR="$T/small" "$BYRE" export db -o y.tar
    expect_says "$T/err" 'small, with .* MiB free, has no room .* TMPDIR'
    expect_empty_folder small
    expect_missing y.tar
fi
