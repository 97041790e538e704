#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# An exported tar becomes an archive with all that it had; a tar that somebody made up does not.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 tar zstd xz

random_file data 1048576 63
mkdir -p vm/disks
cp data vm/base.raw
truncate -s 3000320 vm/base.raw
qemu-img create -q -f qcow2 -b ../base.raw -F raw vm/disks/top.qcow2 8M
guest_write vm/disks/top.qcow2 data 2M
qemu-img snapshot -c first vm/disks/top.qcow2
qemu-img bitmap --add vm/disks/top.qcow2 others
io vm/disks/top.qcow2 'write -c -P 5 4M 64k' 'write -z 5M 64k'
(cd vm && qemu-img create -q -f qcow2 -o data_file=d.data d.qcow2 4M)
(cd vm && guest_write d.qcow2 ../data 1M)
odd=$'vm/\xff\n.raw'
cp data "$odd"
chmod 4640 vm/disks/top.qcow2
touch -d '2020-02-02 02:02:02.123456789' vm/disks/top.qcow2
echo '<domain/>' >'domain.xml'
chmod 000 domain.xml
[ "$(id -u)" = 0 ] || chmod 400 domain.xml
new_repository
fast_key
expect_exit 0 byre backup --name all --tag a --tag b --with domain.xml vm/disks/top.qcow2 vm/d.qcow2 "$odd"
expect_exit 0 byre list --json
json '[(a["name"], a["host"], a["time"], sorted(a["tags"]), a["bytes_allocated"]) for a in d]' >listed
expect_exit 0 byre restore all --to before
expect_exit 0 byre export all -o all.tar

# as_it_was ARCHIVE: restored, it is what the exported one is.
as_it_was() {
    expect_exit 0 byre restore "$1" --to after --verify
    python3 -c '
import os, sys
def facts(top):
    all = []
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name); st = os.stat(path); below = os.path.relpath(path, top)
            if not below.startswith("side-files"):  # whose times are not kept
                all.append((below, st.st_size, st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns))
    return sorted(all)
a, b = facts("before"), facts("after")
if a != b: print(a, b, sep="\n")
sys.exit(a != b)' || fail "names, sizes, modes, owners or times"
    cmp domain.xml after/side-files/domain.xml
    expect_equal "$(stat -c %a after/side-files/domain.xml)" "$(stat -c %a domain.xml)"
    same_layer before/disks/top.qcow2 after/disks/top.qcow2
    cmp before/base.raw after/base.raw
    cmp "$odd" "after/${odd#vm/}"
    (cd after && clean_qcow2 d.qcow2)
    cmp before/d.data after/d.data
    expect_equal "$(qemu-img info after/disks/top.qcow2 | grep -c 'name: others')" 1
    rm -rf after
}

# Into another repository, under the same name, time, host and tags.
mkdir spool
export TMPDIR=$T/spool
unset BYRE_KEY_FILE
export BYRE_REPOSITORY=$T/other BYRE_PASSWORD=other
new_repository
fast_key
expect_exit 0 byre import all.tar --json
expect_json 'd["message_type"] == "summary" and d["name"] == "all" and d["layers_total"] == 4 and len(d["archive"]) == 64'
expect_empty_folder spool
expect_exit 0 byre list --json
expect_equal "$(json '[(a["name"], a["host"], a["time"], sorted(a["tags"]), a["bytes_allocated"]) for a in d]')" "$(cat listed)"
expect_exit 0 byre show all --json
expect_json 'd["images"][0]["path"].endswith("/vm/disks/top.qcow2") and "spool" not in str(d)'
expect_exit 0 byre check --read-data
as_it_was all
# What was imported is no reason to leave the file itself unread; and the same again is nothing new.
expect_exit 0 byre backup --name all vm/disks/top.qcow2 --json
expect_json 'd["bytes_new"] <= 131072 and d["bytes_read"] > 0'
expect_exit 0 byre import all.tar --name again --json
expect_json 'd["name"] == "again" and d["bytes_new"] <= 65536'
# Exported once more, it is the same but for what byre says of it.
expect_exit 0 byre export again -o again.tar
mkdir x y
tar xf all.tar -C x 2>"$T/err"
tar xf again.tar -C y 2>"$T/err"
diff <(grep -v manifest x/SHA256SUMS) <(grep -v manifest y/SHA256SUMS) || fail "exported again"

# Compressed by others, from a pipe, and by others' tars, which put folders and ./ before names.
for filter in zstd xz; do
    command -v $filter >/dev/null || continue
    $filter -c all.tar >all.tar.$filter
    expect_exit 0 byre import - --name "by-$filter" <all.tar.$filter
done
as_it_was by-xz
(cd x && tar --format=gnu -cf ../others.tar ./manifest.json ./base.raw ./disks ./d.data ./d.qcow2 ./$'\xff\n.raw' ./side-files ./SHA256SUMS)
expect_exit 0 byre import others.tar --name others
as_it_was others
expect_empty_folder spool


# Only tops: what is below them is not looked for.
expect_exit 0 byre backup --only-top --name top vm/disks/top.qcow2
expect_exit 0 byre export top -o top.tar
expect_exit 0 byre import top.tar --name top-again
expect_exit 0 byre restore top-again --to tops
cmp <(qemu-img map --output=json before/disks/top.qcow2 | grep -c start) \
    <(cp before/base.raw . && qemu-img map --output=json tops/top.qcow2 | grep -c start)
# An overlay of an earlier export is no archive.
expect_exit 0 byre export all --since by-xz -o since.tar
expect_exit 1 byre import since.tar
expect_says "$T/err" 'since.tar: holds only what differs from archive .*qemu-img commit'

# What is no export, or not whole.
count=$(archive_count)
# refused FILE PATTERN: with that reason, and nothing is left.
refused() {
    expect_exit 1 byre import "$1"
    expect_says "$T/err" "$2"
    expect_empty_folder spool
}
expect_exit 1 byre import absent.tar
expect_exit 2 byre import
expect_exit 2 byre import all.tar --name a/b
: >empty
refused empty 'empty|tar'
refused data 'tar'
refused vm/disks/top.qcow2 'tar'
tar cf foreign.tar data
refused foreign.tar 'not manifest.json'
head -c 1000000 all.tar >cut.tar
refused cut.tar 'cut|trunc|missing'
head -c 700000 all.tar.zstd >cut.tar.zst
refused cut.tar.zst 'trunc|cut'
size=$(stat -c %s all.tar)
# without the end mark and the sums: cut at a boundary of files
python3 -c '
import sys, tarfile
t = tarfile.open("all.tar"); sums = t.getmember("SHA256SUMS")
open("no-sums.tar", "wb").write(open("all.tar", "rb").read()[:sums.offset])'
refused no-sums.tar 'SHA256SUMS is missing|trunc'
python3 - "$size" <<'END'
import sys
data = bytearray(open("all.tar", "rb").read())
at = data.index(open("data", "rb").read()[4096:4160])
data[at] ^= 1
open("flipped.tar", "wb").write(data)
END
refused flipped.tar 'base.raw: the tar is damaged'

# Made up by somebody who knows what an export looks like.
cat >forge.py <<'END'
import copy, hashlib, io, json, os, sys, tarfile
def sha(b): return hashlib.sha256(b).hexdigest()
def make(name, manifest, files, extra=(), sums=None, first=(), fmt=tarfile.PAX_FORMAT):
    """files: (name, bytes); extra, first: TarInfo, bytes"""
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    with tarfile.open(name, "w", format=fmt) as t:
        def add(n, b):
            i = tarfile.TarInfo(n); i.size = len(b); t.addfile(i, io.BytesIO(b))
        for i, b in first: t.addfile(i, io.BytesIO(b))
        add("manifest.json", text)
        for n, b in files: add(n, b)
        for i, b in extra: t.addfile(i, io.BytesIO(b))
        if sums is None:
            sums = "".join(f"{sha(b)}  {n}\n" for n, b in [("manifest.json", text), *files])
        if sums is not False: add("SHA256SUMS", sums.encode())
def entry(name, size=0, **more):
    i = tarfile.TarInfo(name); i.size = size
    for k, v in more.items(): setattr(i, k, v)
    return i
def layer(name, kind="raw", **more):
    return {"file": name, "kind": kind, "path": "/vm/" + name, "backing_file": None,
            "backing_format": None, "layer": "0" * 64, "virtual_size": 4096, "host_bytes": 0,
            "mode": 0o600, "uid": 0, "gid": 0, "mtime_ns": 0} | more
def manifest(*layers, **more):
    return {"format": "byre-export", "version": 1, "archive": "1" * 64, "name": "forged",
            "host": "h", "time": "2026-01-02T03:04:05Z", "since": None, "tags": [],
            "images": [{"name": l["file"], "path": "/vm/" + l["file"], "files": [l["file"]]}
                       for l in layers if l["kind"] in ("raw", "qcow2")], "files": list(layers)} | more
disk = os.urandom(4096)
one = manifest(layer("a.raw"))
make("sound.tar", one, [("a.raw", disk)])
for n, i in {"absolute": entry("/etc/evil"), "dots": entry("../evil"), "inner-dots": entry("a/../../evil"),
        "symlink": entry("l", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "hardlink": entry("h", type=tarfile.LNKTYPE, linkname="a.raw"),
        "char": entry("c", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
        "block": entry("b", type=tarfile.BLKTYPE, devmajor=8, devminor=0),
        "fifo": entry("f", type=tarfile.FIFOTYPE), "unlisted": entry("u"),
        "dots-folder": entry("../d", type=tarfile.DIRTYPE)}.items():
    make(n + ".tar", one, [("a.raw", disk)], extra=[(i, b"")])
    make(n + "-first.tar", one, [("a.raw", disk)], first=[(i, b"")])
make("twice.tar", one, [("a.raw", disk), ("a.raw", disk)])
make("lacking.tar", one, [])
make("wrong-sum.tar", one, [("a.raw", disk)], sums=f"{sha(json.dumps(one).encode())}  manifest.json\n{'0' * 64}  a.raw\n")
make("few-sums.tar", one, [("a.raw", disk)], sums=f"{sha(disk)}  a.raw\n")
make("more-sums.tar", one, [("a.raw", disk)], sums=f"{sha(disk)}  b.raw\n")
make("no-sense.tar", one, [("a.raw", disk)], sums="a.raw\n")
make("longer.tar", one, [("a.raw", disk * 2)])
make("listed-dots.tar", manifest(layer("../a.raw")), [("../a.raw", disk)])
make("listed-absolute.tar", manifest(layer("/tmp/a.raw")), [("/tmp/a.raw", disk)])
make("nested.tar", manifest(layer("a"), layer("a/b")), [("a", disk), ("a/b", disk)])
make("sums-named.tar", manifest(layer("SHA256SUMS")), [("SHA256SUMS", disk)])
make("no-image.tar", one | {"images": []}, [("a.raw", disk)])
make("orphan.tar", one | {"files": [layer("a.raw"), layer("b.raw")]}, [("a.raw", disk), ("b.raw", disk)])
make("relative-path.tar", manifest(layer("a.raw", path="vm/a.raw")), [("a.raw", disk)])
make("later.tar", one | {"version": 2}, [("a.raw", disk)])
make("no-json.tar", b"{", [("a.raw", disk)])
make("deep.tar", b"[" * 1000000, [("a.raw", disk)])
make("bad-name.tar", one | {"name": "a/b"}, [("a.raw", disk)])
make("bad-time.tar", one | {"time": "yesterday"}, [("a.raw", disk)])
make("bad-tag.tar", one | {"tags": ["\n"]}, [("a.raw", disk)])
make("bad-host.tar", one | {"host": "h" * 70000}, [("a.raw", disk)])
top = open("evil.qcow2", "rb").read()
make("backing.tar", manifest(layer("e.qcow2", "qcow2", virtual_size=1 << 20)), [("e.qcow2", top)])
make("data-file.tar", manifest(layer("e.qcow2", "qcow2", virtual_size=1 << 20)), [("e.qcow2", open("evil-data.qcow2", "rb").read())])
plain = open("plain.qcow2", "rb").read()
make("other-kind.tar", manifest(layer("e", virtual_size=len(plain))), [("e", plain)])
# Much, and much out of nothing.
def pax(n, **headers): return entry(n, pax_headers=headers)
with tarfile.open("bomb.tar", "w", format=tarfile.PAX_FORMAT) as t:
    big = json.dumps(manifest(layer("a.raw", virtual_size=1 << 62))).encode()
    t.addfile(entry("manifest.json", len(big)), io.BytesIO(big))
    body = f"1\n{1 << 62}\n0\n".encode().ljust(512, b"\0")
    i = entry("GNUSparseFile.0/a.raw", len(body))
    i.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.raw", "GNU.sparse.realsize": str(1 << 62)}
    t.addfile(i, io.BytesIO(body))
with tarfile.open("map.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as t:
    text = json.dumps(one).encode()
    t.addfile(entry("manifest.json", len(text)), io.BytesIO(text))
    n = 8 << 20
    body = f"{n}\n".encode() + b"0\n0\n" * n
    body = body.ljust((len(body) + 511) // 512 * 512, b"\0")
    i = entry("GNUSparseFile.0/a.raw", len(body))
    i.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.raw", "GNU.sparse.realsize": "4096"}
    t.addfile(i, io.BytesIO(body))
with tarfile.open("many.tar.gz", "w:gz") as t:
    text = json.dumps(one).encode()
    t.addfile(entry("manifest.json", len(text)), io.BytesIO(text))
    raw = entry("d", type=tarfile.DIRTYPE).tobuf()
    for k in range(140): t.fileobj.write(raw * 1000)
END
qemu-img create -q -f qcow2 evil.qcow2 1M
qemu-img rebase -u -f qcow2 -b "$T/vm/base.raw" -F raw evil.qcow2
qemu-img create -q -f qcow2 -o "data_file=$T/vm/d.data" evil-data.qcow2 1M
qemu-img create -q -f qcow2 plain.qcow2 1M
python3 -W ignore forge.py
expect_exit 0 byre import sound.tar
expect_exit 0 byre show forged
count=$(archive_count)
outside='would leave its folder'
while read -r name pattern; do
    refused "$name.tar" "$pattern"
done <<END
absolute $outside
dots $outside
inner-dots $outside
dots-folder $outside
symlink l is a symbolic link
hardlink h is a hard link
char c is a device
block b is a device
fifo f is no regular file
symlink-first is a symbolic link
absolute-first $outside
unlisted-first not manifest.json
unlisted u is not in manifest.json
twice a.raw comes twice
lacking a.raw is missing
wrong-sum a.raw: the tar is damaged
few-sums has 1 lines for 2 files
more-sums names b.raw
no-sense cannot be understood
longer a.raw: has 8192 bytes, and manifest.json says 4096
listed-dots "file" is missing or malformed
listed-absolute "file" is missing or malformed
nested cannot be called a and a/b
sums-named cannot be called SHA256SUMS
no-image has no image
orphan b.raw is part of no image
relative-path "path" is missing or malformed
later version 2
no-json manifest.json
deep manifest.json
bad-time time
bad-name manifest.json: the name "a/b"
bad-tag manifest.json: the name
bad-host more than 255 bytes
backing base.raw: is not below
data-file d.data: is not below
other-kind is not what manifest.json says
bomb more than 64 TiB
END
refused many.tar.gz 'more than 131072 entries'
if ! sanitized; then
    (ulimit -v 1000000 && refused map.tar.gz 'bytes of headers|cannot be read')
fi
expect_missing "$T/evil" "$T/spool/evil" /etc/evil
expect_equal "$(archive_count)" "$count"

# A signal ends it, while it waits for more of the tar, too.
mkfifo fifo
"$BYRE" import - --name stopped <fifo >"$T/out" 2>"$T/err" &
pid=$!
exec {to}>fifo
head -c 1000000 all.tar >&"$to"
timeout 20 bash -c "until find '$T/spool' -name base.raw -size +100k | grep -q .; do :; done" || fail "nothing was unpacked"
[ "$(stat -c %a spool/byre-import.*)" = 700 ] || fail "others can enter the folder"
kill -TERM $pid
timeout 20 tail --pid=$pid -f /dev/null || fail "SIGTERM does not end an import"
code=0
wait $pid || code=$?
exec {to}>&-
expect_equal "$code" 143
expect_empty_folder spool
expect_equal "$(archive_count)" "$count"

# More than there is room for.
if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=1M byre-test small 2>/dev/null; then
    at_end "umount '$T/small'"
    expect_exit 1 env TMPDIR="$T/small" "$BYRE" import all.tar
    expect_says "$T/err" 'no space|does not fit'
    expect_empty_folder small
fi
