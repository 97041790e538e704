#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A drill restores everything, has it judged, and leaves nothing, whatever came of it.
# shellcheck disable=SC1091,SC2016 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

# ended PID: there is no such process, but perhaps one that nobody has waited for.
ended() {
    local limit=$((SECONDS + 20))
    while ((SECONDS < limit)); do
        grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status" || return 0
    done
    fail "process $1 goes on: $(tr '\n' ' ' <"/proc/$1/status" | cut -c1-200)"
}

random_file data 262144 83
qemu-img create -q -f qcow2 base.qcow2 16M
guest_write base.qcow2 data 3M
mkdir over
qemu-img create -q -f qcow2 -b "$T/base.qcow2" -F qcow2 over/top.qcow2
guest_write over/top.qcow2 data 7M
(cd over && qemu-img create -q -f qcow2 -o data_file=outside.raw,data_file_raw=on with,comma.qcow2 1M)
random_file disk.raw 300000 84
luks_tool create -q --object secret,id=s,data=x -f qcow2 \
    -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 locked.qcow2 4M
echo '<domain/>' >vm.xml
new_repository
fast_key
(cd over && expect_exit 0 byre backup --name vm top.qcow2 with,comma.qcow2 ../disk.raw ../locked.qcow2 --with ../vm.xml)
mkdir scratch
export TMPDIR=$T/scratch

# All is well, and gone. By default it is the latest archive.
expect_exit 0 byre drill
expect_says "$T/out" 'top.qcow2: .* qemu-img check: clean'
expect_says "$T/out" 'locked.qcow2: .*encrypted'
expect_says "$T/out" 'image top.qcow2, 2 layers: its chain opens'
expect_says "$T/out" 'drill of [0-9a-f]{8} vm: fine, 7 files'
expect_empty_folder scratch
expect_exit 0 byre drill vm --json --command 'true'
expect_json 'd["ok"] and d["command_exit"] == 0 and d["failures"] == 0 and d["folder"] is None'
expect_json 'sorted((f["path"], f["check"]) for f in d["files"]) == [
    ("base.qcow2", "clean"), ("disk.raw", "read"), ("locked.qcow2", "read"), ("over/outside.raw", "read"),
    ("over/top.qcow2", "clean"), ("over/with,comma.qcow2", "clean"), ("side-files/vm.xml", "read")]'
expect_json '[(i["name"], i["layers"], i["chain"]) for i in d["images"]] == [("top.qcow2", 2, "clean"),
    ("with,comma.qcow2", 1, "clean"), ("disk.raw", 1, "read"), ("locked.qcow2", 1, "clean")]'
expect_empty_folder scratch
expect_exit 0 byre drill -q
expect_silent "$T/out"

# The command sees what was restored, and none of byre's secrets; what it says is no result.
export BYRE_DRILL_DIR=of-somebody-else
cat >judge.sh <<'END'
set -e
echo "of the command"
test "$PWD" = "$BYRE_DRILL_DIR"
test "$(stat -c %a .)" = 700
qemu-img compare -q -f qcow2 -F qcow2 over/top.qcow2 "$1/over/top.qcow2"
cmp disk.raw "$1/disk.raw"
cmp over/outside.raw "$1/over/outside.raw"
cmp side-files/vm.xml "$1/vm.xml"
printf '%s\n' "$BYRE_DRILL_IMAGES" | while read -r image; do
    qemu-img info "$image" >/dev/null
    case $image in "$BYRE_DRILL_DIR"/*) echo "image ${image##*/}" ;; esac
done
env | grep -o '^BYRE_[A-Z_]*' | sort
echo "archive $BYRE_DRILL_ARCHIVE"
END
expect_exit 0 byre drill --json --command "sh $T/judge.sh $T"
expect_equal "$(wc -l <"$T/out")" "$(grep -c '^{' "$T/out")" "lines of JSON"
expect_equal "$(grep -vF '"message_type"' "$T/err" | head -n -1)" 'of the command
image top.qcow2
image with,comma.qcow2
image disk.raw
image locked.qcow2
BYRE_DRILL_ARCHIVE
BYRE_DRILL_DIR
BYRE_DRILL_IMAGES' "what the command saw"
expect_says "$T/err" "^archive $(byre list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')$"
unset BYRE_DRILL_DIR

# It decides. What it links, writes and leaves running is no way out of the folder.
mkdir mine
echo precious >mine/file
expect_exit 1 byre drill --json --command \
    "ln -s '$T/mine' link; mkdir -p a/b; echo x >a/b/c; sleep 1000 & echo \$! >'$T/left'; exit 7"
expect_json 'not d["ok"] and d["failures"] == 1 and d["command_exit"] == 7'
expect_says "$T/err" 'the command ended with 7'
expect_equal "$(cat mine/file)" precious "a file that the command linked to"
expect_empty_folder scratch
ended "$(cat left)"
expect_exit 1 byre drill --command 'kill -9 $$'
expect_says "$T/out" 'the command ended with 137'
expect_exit 1 byre drill --command no-such-program

# Kept only when asked for.
expect_exit 1 byre drill --keep --json --command false
kept=$(json 'd["folder"]')
same_content over/top.qcow2 "$kept/over/top.qcow2" qcow2 qcow2
expect_equal "$(stat -c %a "$kept")" 700 "mode of the folder"
rm -r "$kept"
mkdir elsewhere
expect_exit 0 byre drill --to elsewhere --command 'case $PWD in */elsewhere/*) ;; *) false ;; esac'
expect_empty_folder elsewhere
expect_exit 1 byre drill --to no/such/folder
expect_exit 1 byre drill no-such-archive

# What qemu-img finds counts, and the command is not asked any more. A stand-in finds it.
mkdir bin
real=$(command -v qemu-img)
cat >bin/qemu-img <<END
#!/bin/sh
case "\$1 \$*" in
"\$FAIL "*top.qcow2*) echo "ERROR cluster 5 refcount=1 reference=2"; exit \$CODE ;;
esac
exec $real "\$@"
END
chmod +x bin/qemu-img
export FAIL=check CODE=2
expect_exit 1 env PATH="$T/bin:$PATH" "$BYRE" drill --json --command "echo run >$T/run"
expect_json '[(f["path"], f["message"]) for f in d["files"] if f["check"] == "failed"] == [
    ("over/top.qcow2", "ERROR cluster 5 refcount=1 reference=2")]'
expect_json 'd["command_exit"] is None and not d["ok"]'
expect_missing run
expect_exit 1 env PATH="$T/bin:$PATH" "$BYRE" drill
expect_says "$T/err" 'drill of archive [0-9a-f]{8}: 1 check failed'
CODE=3 expect_exit 0 env PATH="$T/bin:$PATH" "$BYRE" drill
expect_says "$T/out" 'top.qcow2: .*leaked clusters'
FAIL=info expect_exit 1 env PATH="$T/bin:$PATH" "$BYRE" drill --json
expect_json 'd["images"][0]["chain"] == "failed" and "ERROR" in d["images"][0]["message"]'
expect_exit 1 env PATH="$T/elsewhere" "$BYRE" drill
expect_says "$T/err" 'no qemu-img'
expect_exit 0 byre backup --name raw disk.raw
expect_exit 0 env PATH="$T/elsewhere" "$BYRE" drill raw
expect_empty_folder scratch

# Without its base an image cannot be opened, but be checked.
expect_exit 0 byre backup --name alone --only-top over/top.qcow2
expect_exit 0 byre drill alone --json
expect_json 'd["files"][0]["check"] == "clean" and not d["images"][0]["complete"]'

# Stopped by a signal, in the command: nothing is left.
mkfifo started
"$BYRE" drill vm --command "echo \$\$ >'$T/started'; sleep 1000" >"$T/out" 2>"$T/err" &
pid=$!
read -r command_pid <started
kill -TERM $pid
code=0
wait $pid || code=$?
expect_equal "$code" 143 "exit code after SIGTERM"
ended "$command_pid"
expect_empty_folder scratch

# A role that reads no disks, and too little room, are told before anything is written.
(umask 077 && printf 'a%.0s' {1..64} >append-key)
expect_exit 0 byre key add --role append --new-key-file append-key
expect_exit 12 byre --key-file append-key drill vm
if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=256k tmpfs small 2>/dev/null; then
    at_end "umount '$T/small'"
    expect_exit 1 byre drill vm --to small
    expect_says "$T/err" 'small: the restored images take at least [0-9]+ MiB, and 0 MiB are free; --to'
    expect_empty_folder small
    # What is mounted in the folder is not emptied with it.
    expect_exit 1 byre drill vm --command "mkdir m && mount --bind '$T/mine' m"
    expect_says "$T/err" 'removing m: .*busy'
    expect_equal "$(cat mine/file)" precious "a file below a mount"
    for left in scratch/*; do umount "$left/m" && rmdir "$left/m" "$left"; done
else
    echo "not shown without root: too little room, and mounts"
fi

# Damage is told apart from all that.
pack=$(find repo/packs -type f -size +100k | sort | head -n 1)
python3 -c '
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(30000); b = f.read(1); f.seek(30000); f.write(bytes([b[0] ^ 1]))' "$pack"
expect_exit 4 byre drill vm
expect_empty_folder scratch
