#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# check --repair: the index comes back from the packs; what was in packs and is lost is named, the
# rest stays, and the next backup brings back what the source still has.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

expect_exit 0 byre init --reserve 0
fast_key
head -c 64 /dev/urandom >append.key
head -c 64 /dev/urandom >backup.key
expect_exit 0 byre key add --role append --new-key-file append.key
expect_exit 0 byre key add --role backup --new-key-file backup.key

# Two disks that share nothing, of three backups each time something more.
random_file one 3000320 1
random_file two 2000384 2
random_file more 1000448 3
qemu-img create -q -f qcow2 a.qcow2 16M
guest_write a.qcow2 one 1M
expect_exit 0 byre backup --name a a.qcow2
qemu-img create -q -f qcow2 -o cluster_size=32k b.qcow2 16M
guest_write b.qcow2 two 2M
expect_exit 0 byre backup --name b b.qcow2
cp a.qcow2 a.first
guest_write a.qcow2 more 8M
expect_exit 0 byre backup --name a2 a.qcow2
expect_exit 0 byre check --read-data
cp -a repo whole

begin() {
    rm -rf repo cache state
    cp -a whole repo
}
entries() { find repo/log -type f | wc -l; }

# expect_restore NAME IMAGE: the archive gives the disk.
expect_restore() {
    rm -rf got
    expect_exit 0 byre restore "name:$1" --to got
    same_content "$(find got -type f | head -n 1)" "$2"
    rm -rf got
}
expect_all() {
    expect_restore a a.first
    expect_restore b b.qcow2
    expect_restore a2 a.qcow2
}
expect_clean() {
    expect_exit 0 byre check --read-data
    expect_says "$T/out" 'no errors'
}
# expect_no_more: a second repair writes nothing.
expect_no_more() {
    local before
    before=$(cd repo && find . -type f | sort)
    expect_exit "$1" byre check --repair --read-data
    expect_equal "$(cd repo && find . -type f | sort)" "$before" "files after a second repair"
}
# first_pack CLASS: the pack of that class, 1 for data, that came first.
first_pack() {
    python3 - "$1" <<'PY'
import os, sys
found = []
for name in os.listdir("repo/packs"):
    path = os.path.join("repo/packs", name)
    with open(path, "rb") as f:
        head = f.read(64)
    if head[10] == int(sys.argv[1]):
        found.append((os.stat(path).st_mtime_ns, path))
print(min(found)[1])
PY
}
flip() {
    chmod u+w "$1"
    python3 - "$1" "$2" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]), 0 if int(sys.argv[2]) >= 0 else 2)
    byte = f.read(1)[0]
    f.seek(-1, 1)
    f.write(bytes([byte ^ 64]))
PY
}

# ---- nothing is wrong ----
before=$(entries)
expect_exit 0 byre check --repair --read-data --json
expect_json 'd["errors"] == 0 and d["errors_remaining"] == 0 and not any(d["repaired"].values())'
expect_exit 0 byre --key-file append.key check --repair
expect_equal "$(entries)" "$before" "log entries"

# ---- the index ----
for keep in 0 1 2; do
    begin
    find repo/segments -type f | sort | tail -n +$((keep + 1)) | xargs rm -f
    expect_exit 4 byre check
    expect_exit 0 byre --key-file append.key check --repair --json
    expect_json 'd["errors"] > 0 and d["errors_remaining"] == 0 and d["repaired"]["objects_indexed"] > 0'
    expect_json 'd["damaged_archives"] == [] and d["repaired"]["packs_dropped"] == 0'
    expect_no_more 0
    expect_clean
    expect_all
done
begin
flip "$(find repo/segments -type f | sort | head -n 1)" 100
expect_exit 0 byre check --repair
expect_says "$T/out" 'index: 1 segment dropped, 1 written'
expect_clean
expect_all

# ---- a byte of data ----
begin
cp a.qcow2 kept.qcow2
pack=$(first_pack 1)
flip "$pack" 5000
expect_exit 0 byre check # it takes reading
expect_exit 12 byre --key-file append.key check --repair --read-data
expect_equal "$(entries)" "$before" "log entries"
expect_exit 4 byre check --repair --read-data --json
expect_json 'len(d["damaged_archives"]) == 2 and d["repaired"]["objects_damaged"] > 0'
expect_json 'd["repaired"]["objects_missing"] > 0 and d["repaired"]["packs_dropped"] == 0'
expect_says "$T/err" "${pack#repo/}"
expect_no_more 4
expect_restore b b.qcow2
expect_exit 4 byre restore name:a --to got
rm -rf got
# The files of the archives are as they were, and yet all is read, and what is lost is stored again.
expect_exit 0 byre backup --name again --json a.qcow2
expect_json 'd["parent"] is None and d["chunks_new"] > 0'
expect_clean
expect_all
expect_restore again a.qcow2
expect_exit 0 byre backup --name later --json a.qcow2
expect_json 'd["parent"] is not None and d["layers_unchanged"] == 1'
expect_exit 0 byre forget name:a
expect_exit 0 byre prune
expect_clean
expect_restore a2 a.qcow2
# Where the role may not read data the checksum is proof enough.
begin
flip "$pack" 5000
expect_exit 4 byre --key-file backup.key check --repair --read-data
expect_exit 0 byre --key-file backup.key backup --name again a.qcow2
expect_clean
expect_all

# ---- whole packs ----
damage_pack() {
    case $1 in
    gone) rm -f "$2" ;;
    cut) chmod u+w "$2" && truncate -s -1000 "$2" ;;
    trailer) flip "$2" -70 ;;
    esac
}
for how in gone cut trailer; do
    for class in 1 2; do
        begin
        pack=$(first_pack $class)
        damage_pack $how "$pack"
        expect_exit 4 byre check
        expect_exit 12 byre --key-file append.key check --repair
        cp -a repo/packs packs.before
        expect_exit 4 byre check --repair --json
        expect_json 'd["repaired"]["packs_dropped"] == 1 and d["errors_remaining"] > 0'
        diff -r packs.before repo/packs || fail "a repair changed packs"
        rm -rf packs.before
        expect_says "$T/err" "${pack#repo/}: is"
        expect_no_more 4
        expect_restore b b.qcow2
        # What is left can be freed, and what is needed stays.
        expect_exit 0 byre prune
        expect_restore b b.qcow2
        expect_exit 0 byre backup --name again a.qcow2
        expect_restore again a.qcow2
        expect_restore a2 a.qcow2
        if [ $class = 1 ]; then
            expect_clean
            expect_all
        fi
        # Whoever gives up what suffers has a sound repository.
        expect_exit 0 byre forget name:a name:a2
        expect_exit 0 byre prune
        expect_clean
        expect_restore again a.qcow2
    done
done

# Without a repair the next backup notices as much, and says so.
begin
rm -f "$(first_pack 1)"
expect_exit 0 byre backup --name again a.qcow2
expect_says "$T/err" 'is missing'
expect_restore again a.qcow2
expect_restore a a.first
expect_exit 0 byre check --repair
expect_clean
expect_all

# ---- no time to repair ----
begin
rm -f repo/packs/*
expect_exit 4 byre check --repair
expect_says "$T/err" 'not repaired: not one of'
expect_equal "$(entries)" "$before" "log entries"
