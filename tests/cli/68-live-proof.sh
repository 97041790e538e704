#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Whose bytes are right is proven, never guessed: an overlay goes, or is committed, only where that
# loses nothing, whatever failed on the way, and whoever has laid hands on it meanwhile.
HERE=$(realpath "$(dirname "$0")")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091 source=tests/cli/live.sh
. "$(dirname "$0")/live.sh"
requires qemu-storage-daemon qemu-img qemu-io python3 strace
strace -qq -e trace=none true 2>/dev/null || skip "strace may not trace here"
# The leak checker cannot work below a tracer.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

new_repository
fast_key
random_file noise $((4 << 20)) 86

# fresh: two disks, and a machine that runs on them.
fresh() {
    rm -f ./*.byre-live
    qemu-img create -q -f qcow2 root.qcow2 32M
    guest_write root.qcow2 noise 0
    cp noise data.raw
    truncate -s 16M data.raw
    machine root=root.qcow2 data=data.raw
}

# wrote N: the guest writes on both disks; what it sees then is in root.want and data.want.
wrote() {
    guest root "write -P $1 $1M 1M"
    guest data "write -P $1 $1M 64k"
    guest_copy root root.want
    guest_copy data data.want
}

# all_there: the machine, shut down if it runs, has all on its own files.
all_there() {
    if [ -n "$machine_pid" ]; then
        back_on root=root.qcow2 data=data.raw
        shut_down
    fi
    nothing_left_of_it
    same_content root.qcow2 root.want qcow2 raw
    cmp data.raw data.want || fail "the raw disk lost something"
}

# ---- a base that cannot be flushed: all disks go back, not only those before it ----
fresh
wrote 5
code=0
for disk in root.qcow2 data.raw; do
    code=0
    strace -f -qq -o strace.out -P "$T/$disk" -e trace=fsync -e inject=fsync:error=EIO:when=1 \
        "$BYRE" backup --qmp "$T/qmp.sock" >out 2>&1 || code=$?
    expect_equal "$code" 1 "exit"
    expect_says out "$disk: flushing it: Input/output error"
    back_on root=root.qcow2 data=data.raw
done
all_there

# ---- names that mean something to a shell, to QEMU or to socat ----
# as_typed: what status prints, typed.
as_typed() {
    local line
    byre live status >typed || true
    ! grep -q '[^[:print:]]' typed || fail "status steers the terminal"
    sed -n 's/^ *\$ //p' typed >typed.sh
    [ -s typed.sh ] || { cat typed; fail "status tells no commands"; }
    while IFS= read -r line <&8; do
        sh -c "$line" >typed.out 2>&1 || { cat typed.out; fail "as typed: $line"; }
        for _ in {1..100}; do
            [ -n "$machine_pid" ] || break
            [ "$(qmp 'any(j["status"] in ("created", "running", "waiting", "aborting")
                for j in r[0])' query-jobs '{}')" = True ] || break
        done
    done 8<typed.sh
}

odd="$T/it's \"odd\", \$(touch pwned); a:b,c=d"$'\n\e[2J'
mkdir "$odd"
qemu-img create -q -f qcow2 "$odd/root.qcow2" 16M
odd_machine() {
    local node
    node=$(python3 -c 'import json, sys; print(json.dumps({"driver": "qcow2", "node-name": "root",
        "file": {"driver": "file", "filename": sys.argv[1] + "/root.qcow2"}}))' "$odd")
    ln -sfn "$odd" odd
    rm -f odd/qmp
    (cd odd && exec qemu-storage-daemon --blockdev "$node" \
        --nbd-server "addr.type=unix,addr.path=$T/nbd.sock" \
        --export type=nbd,id=x,name=root,node-name=root,writable=on \
        --chardev socket,id=qmp,path=qmp,server=on,wait=off --monitor chardev=qmp \
        --daemonize --pidfile "$T/qsd.pid")
    ln -sfn odd/qmp qmp.sock
    machine_pid=$(cat qsd.pid)
}
for way in alive dead; do
    odd_machine
    held
    guest root "write -P 7 5M 1M" "write -P ${#way} 7M 1M"
    guest_copy root root.want
    killed_while_held
    [ $way = alive ] || crash
    as_typed
    expect_missing pwned odd/pwned
    nothing_left_of_it
    [ $way = dead ] || shut_down
    same_content odd/root.qcow2 root.want qcow2 raw
done

# ---- an overlay that the machine has changed to say that another file is its base ----
# broken: a backup was killed, and then the machine, while both disks had writes in their overlays.
broken() {
    fresh
    held
    journal=$(echo "$T"/state/live/*.json)
    wrote "$1"
    killed_while_held
    crash
}
broken 3
cp noise victim
truncate -s 32M victim
cp victim victim.before
qemu-img rebase -u -b "$T/victim" -F raw root.qcow2.byre-live
expect_exit 0 byre live recover
cmp victim victim.before || fail "a file was written to that is no disk"
all_there
broken 4
mv root.qcow2.byre-live kept
qemu-img create -q -f qcow2 -o data_file=victim root.qcow2.byre-live 32M
expect_exit 1 byre live recover
expect_says err 'root.qcow2.byre-live: .*another file'
cp victim.before victim
mv kept root.qcow2.byre-live
expect_exit 0 byre live recover
all_there

# ---- the machine does not go back, after the journal has said that the base is complete ----
fresh
python3 "$HERE/qmp_proxy.py" "$T/proxy.sock" "$T/qmp.sock" job-finalize job-cancel \
    "$T/root.qcow2" "$T/data.raw" &
proxy_pid=$!
at_end "kill $proxy_pid || true"
until [ -e proxy.sock ]; do read -rt 0.02 <> <(:) || true; done
wrote 5
expect_exit 3 byre backup --qmp proxy.sock
expect_says err 'could not write the overlay back: .*cancel'
wrote 6
crash
kill $proxy_pid
wait $proxy_pid || true
rm proxy.sock
expect_exit 3 byre live status
expect_exit 0 byre live recover
all_there

# ---- the journal cannot be written when the base is complete: no write of the guest waits ----
fresh
code=0
# preparing, switching, frozen, archived, committing, complete
strace -f -qq -o strace.out -P "${journal%.json}.tmp" -e trace=openat \
    -e inject=openat:error=ENOSPC:when=6 "$BYRE" backup --qmp "$T/qmp.sock" >out 2>&1 || code=$?
expect_equal $code 3 exit
expect_says out 'No space left'
wrote 9
expect_equal "$(qmp 'len(r[0])' query-jobs '{}')" 0 jobs
crash
expect_exit 0 byre live recover
all_there

# ---- byre dies while the guest's writes wait, and another client has the monitor first ----
fresh
wrote 11
python3 -c '
import os, socket, time
while not os.path.exists("root.qcow2.byre-live"): time.sleep(0.01)
s = socket.socket(socket.AF_UNIX); s.connect("qmp.sock")
assert b"QMP" in s.recv(4096)
time.sleep(7)' &
other_pid=$!
code=0
(
    strace -f -qq -P "${journal%.json}.tmp" -e trace=openat -o "$T/strace" \
        -e inject=openat:signal=SIGKILL:when=6 "$BYRE" backup --qmp "$T/qmp.sock"
    exit $?
) >out 2>&1 || code=$?
expect_equal $code 137 exit
wait $other_pid
for _ in {1..500}; do
    byre live status >out 2>&1 || true
    grep -q 'being backed up' out || break
done
expect_equal "$(qmp '[j["id"] for j in r[0] if j["status"] == "pending"]' query-jobs '{}')" '[]' 'pending'
expect_exit 0 byre live recover
all_there

# ---- recovering where something is not as it was left ----
# journal_says STATEMENT: changes the journal, which is d, by Python.
journal_says() {
    python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
exec(sys.argv[2])
json.dump(d, open(sys.argv[1], "w"))' "$journal" "$1"
}

# refused PATTERN: nobody but people may decide, and no file is touched.
refused() {
    fingerprint ./*.qcow2 ./*.raw ./*.byre-live >before
    expect_exit 1 byre live recover
    expect_says err "$1"
    fingerprint ./*.qcow2 ./*.raw ./*.byre-live | cmp before - || fail "something was touched"
}

# A machine that byre cannot see, from a container say, may have written to an overlay that looks
# empty.
fresh
held
killed_while_held
journal_says 'd["machine"] = d["machine_since"] = 0'
mv qmp.sock away
refused 'has it open still'
mv away qmp.sock
wrote 5
expect_exit 0 byre live recover
all_there

# The host lost power during the commit; then the machine was started on the base, and is off again.
broken 6
journal_says 'd["phase"] = "committing"; d["boot_id"] = "another"
for disk in d["disks"]: disk["step"] = "committing"'
machine root=root.qcow2 data=data.raw
guest root 'write -P 99 20M 1M'
guest data 'write -P 99 12M 64k'
shut_down
refused 'was the machine started on it'
# Had nobody started it, it were committed.
touch -d '2001-02-03' root.qcow2 data.raw
expect_exit 0 byre live recover
nothing_left_of_it

# A recovery that could not even begin does not make byre forget how the base was left.
broken 7
mkdir -p nothing
expect_exit 1 env PATH="$T/nothing" "$BYRE" live recover
expect_says err 'no qemu-img'
machine root=root.qcow2 data=data.raw
guest root 'write -P 99 20M 1M'
guest data 'write -P 99 12M 64k'
shut_down
refused 'was the machine started on it'
expect_exit 0 byre live recover --discard-overlay
nothing_left_of_it

# A base that was restored meanwhile is not committed to.
broken 7
journal_says 'd["phase"] = "committing"
for disk in d["disks"]: disk["step"] = "committing"'
for disk in root.qcow2 data.raw; do cp $disk restored && mv restored $disk; done
refused 'another file has taken the place'
expect_exit 0 byre live recover --discard-overlay
nothing_left_of_it

# It is said to be complete, or the machine to have gone back by itself, and the base is as it was.
broken 8
journal_says 'for disk in d["disks"]: disk["step"] = "complete"'
refused 'nobody has committed it'
journal_says 'for disk in d["disks"]: disk["step"] = "switched"'
# Only the host has given its devices other numbers.
journal_says 'for disk in d["disks"]: disk["stat"]["device"] += 1'
expect_exit 0 byre live recover
all_there

# One disk can be put right, and the other cannot: what is known of that must not be forgotten.
broken 9
machine root=root.qcow2.byre-live data=data.raw
guest data 'write -P 99 12M 64k'
expect_exit 1 byre live recover
expect_says err 'disk (x-)?data: split'
shut_down
expect_missing root.qcow2.byre-live
same_content root.qcow2 root.want qcow2 raw
refused 'disk (x-)?data: split'
expect_exit 0 byre live recover --discard-overlay
nothing_left_of_it

# The newest writes are in another folder: whoever backs up the base as a file is told.
fresh
mkdir elsewhere
held --overlay-dir elsewhere
wrote 11
killed_while_held
crash
expect_exit 3 byre backup --name stale root.qcow2
expect_says err 'root.qcow2: the temporary overlay of a live backup has newer writes'
expect_exit 0 byre backup --name stale --frozen-base root.qcow2
expect_exit 0 byre live recover
expect_exit 0 byre backup --name stale root.qcow2
all_there

# A journal that another user has, or could have, written does not tell root what to delete.
broken 10
chmod 622 "$journal"
refused 'nothing is done by what it says'
chmod 600 "$journal"
chmod 777 "${journal%/*}"
refused 'nothing is done by what it says'
chmod 700 "${journal%/*}"
expect_exit 0 byre live recover
all_there
