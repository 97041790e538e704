#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# byre's own bitmaps: each run adds one before it reads and removes the ones before, whatever ends it;
# bitmaps of others are never touched; an image that cannot have one is saved without.
# The commands for the fake qemu-img are expanded there.
# shellcheck disable=SC2016
tools=$(realpath "$(dirname "$0")/../recipes")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io qemu-nbd qemu-storage-daemon python3

# bitmaps IMAGE [PATTERN]: names of the bitmaps that match, one a line.
bitmaps() {
    qemu-img info -U --output=json "$1" | python3 -c 'import json, re, sys
d = json.load(sys.stdin)["format-specific"]["data"]
for b in d.get("bitmaps", []):
    if re.search(sys.argv[1], b["name"]): print(b["name"])' "${2:-}"
}
own() { bitmaps "$1" "^byre-$prefix-[0-9a-f]{16}$"; }
own_count() { own "$1" | wc -l; }

# dirty IMAGE NAME: a bitmap's extents as QEMU sees them.
dirty() {
    PYTHONPATH=$tools python3 -B -c '
import nbd, os, sys
path = os.path.abspath(sys.argv[1]).replace(",", ",,")
print(*nbd.dump(f"driver=qcow2,file.driver=file,file.filename={path}", [], sys.argv[2].encode()))' "$1" "$2"
}

# is_dirty IMAGE NAME OFFSET
is_dirty() {
    dirty "$1" "$2" | python3 -c '
import ast, sys
size, extents = sys.stdin.read().split(" ", 1)
at = 0
for length, state in ast.literal_eval(extents):
    if at <= int(sys.argv[1]) < at + length: sys.exit(not state)
    at += length
sys.exit(2)' "$3" || fail "$1: bitmap $2 is clean at $3"
}

# guest IMAGE COMMAND: a write, which somebody else's bitmap has too; its bits are in ${foreign}.
guest() {
    io "$1" "$2"
    foreign=$(dirty "$1" nightly)
}
# new_image NAME: with a guest's data and somebody else's bitmap.
new_image() {
    rm -f "$1"
    qemu-img create -q -f qcow2 "$1" 16M
    io "$1" 'write -P 1 1M 300k'
    qemu-img bitmap --add -g 4096 "$1" nightly
    guest "$1" 'write -P 2 5M 12k'
}
foreign_is_untouched() { expect_equal "$(dirty "$1" nightly)" "$foreign" "the bitmap of somebody else"; }

# saved_with_one IMAGE ARCHIVE: one own bitmap, which the archive has recorded.
saved_with_one() {
    expect_equal "$(own_count "$1")" 1 "own bitmaps of $1"
    expect_exit 0 byre show "$2" --json
    expect_json "'$(own "$1")' in [b['name'] for b in d['layers'][-1]['bitmaps']]"
    [ "$1" = luks.qcow2 ] || clean_qcow2 "$1"
}

# A qemu-img that does what ${WHEN} says, "before add", "after remove" and such, and is the real one
# else. Its parent is byre.
real=$(command -v qemu-img)
mkdir fake none
export REAL_QEMU_IMG=$real WHEN="" TRIGGER="" CALLS=$T/calls
cat >fake/qemu-img <<'END'
#!/bin/bash
echo "$*" >>"$CALLS"
what=${2#--}
if [ "$WHEN" = "before $what" ]; then eval "$TRIGGER"; fi
"$REAL_QEMU_IMG" "$@" || exit
if [ "$WHEN" = "after $what" ]; then eval "$TRIGGER"; fi
END
chmod +x fake/qemu-img
# with_fake WHEN TRIGGER COMMAND...
with_fake() {
    local when=$1 trigger=$2
    shift 2
    rm -f "$CALLS"
    WHEN=$when TRIGGER=$trigger PATH=$T/fake:$PATH "$@"
}
byre_without_qemu_img() { PATH=$T/none "$BYRE" "$@"; }

new_repository
fast_key
expect_exit 0 byre bitmap name
expect_says out '^byre-[0-9a-f]{8}-[0-9a-f]{16}$'
prefix=$(cut -d- -f2 out)
expect_exit 0 byre bitmap name --json
expect_json 'd["message_type"] == "summary" and d["name"].startswith("byre-'"$prefix"'-")'

# ---- one after the other ----

new_image disk.qcow2
expect_exit 0 byre backup --json disk.qcow2
expect_equal "$(own_count disk.qcow2)" 0 "bitmaps without --bitmap"
expect_exit 0 with_fake "" "" byre backup --json --bitmap --dry-run disk.qcow2
expect_missing calls
expect_equal "$(own_count disk.qcow2)" 0 "bitmaps after a dry run"
expect_exit 0 byre backup --json --bitmap disk.qcow2
expect_json 'd["bitmaps_obsolete"] == 0'
saved_with_one disk.qcow2 disk
first=$(own disk.qcow2)
guest disk.qcow2 'write -P 3 9M 1k'
is_dirty disk.qcow2 "$first" $((9 << 20))
# What is written between adding and locking is in the new one, and the old one still has its bits.
expect_exit 0 with_fake "after add" "qemu-io -f qcow2 -c 'write -P 4 12M 1k' disk.qcow2" \
    byre backup --json --bitmap disk.qcow2
saved_with_one disk.qcow2 disk
[ "$(own disk.qcow2)" != "$first" ] || fail "the bitmap is still the first one"
is_dirty disk.qcow2 "$(own disk.qcow2)" $((12 << 20))
is_dirty disk.qcow2 nightly $((12 << 20))
foreign=$(dirty disk.qcow2 nightly)
# Without --bitmap nothing is changed, also not one that is there.
fingerprint disk.qcow2 >before
expect_exit 0 byre backup --json disk.qcow2
fingerprint disk.qcow2 | cmp - before || fail "a backup without --bitmap changed the image"

# Restored, the image is clean and has what it had.
expect_exit 0 byre restore disk --to back --verify
same_layer disk.qcow2 back/disk.qcow2
expect_equal "$(bitmaps back/disk.qcow2 | sort)" "$(bitmaps disk.qcow2 | sort)" "restored bitmaps"
for name in $(bitmaps disk.qcow2); do
    expect_equal "$(dirty back/disk.qcow2 "$name")" "$(dirty disk.qcow2 "$name")" "restored bits of $name"
done
expect_exit 0 byre check --read-data

# ---- two repositories, one image ----

expect_exit 0 byre backup --bitmap disk.qcow2
mine=$(own disk.qcow2)
expect_exit 0 byre -r other init --reserve 0
expect_exit 0 byre -r other backup --bitmap disk.qcow2
expect_exit 0 byre -r other backup --bitmap disk.qcow2
expect_equal "$(own disk.qcow2)" "$mine" "what another repository left"
expect_equal "$(bitmaps disk.qcow2 ^byre- | wc -l)" 2 "bitmaps of two repositories"
expect_exit 0 byre bitmap remove disk.qcow2
expect_equal "$(cat out)" "$mine" "what was removed"
expect_equal "$(bitmaps disk.qcow2 ^byre- | wc -l)" 1 "bitmaps of the other"
foreign_is_untouched disk.qcow2
expect_exit 0 byre bitmap remove disk.qcow2 --json
expect_json 'd["removed"] == []'

# ---- one for each image, whatever it is called ----

new_image base.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
ln -s top.qcow2 link.qcow2
cp base.qcow2 ./-dash.qcow2
cp base.qcow2 'a:b.qcow2'
cp base.qcow2 $'nbd:x,y \n.qcow2'
expect_exit 0 byre backup --json --bitmap --name many -- top.qcow2 "$T/top.qcow2" link.qcow2 -dash.qcow2 a:b.qcow2 $'nbd:x,y \n.qcow2'
for image in top.qcow2 "$T/-dash.qcow2" "$T/a:b.qcow2" "$T/"$'nbd:x,y \n.qcow2'; do
    expect_equal "$(own_count "$image")" 1 "own bitmaps of $image"
done
expect_equal "$(own_count base.qcow2)" 0 "own bitmaps of a base"
expect_exit 0 byre backup --json --bitmap --name many top.qcow2 link.qcow2
expect_json 'd["bitmaps_obsolete"] == 0'
expect_equal "$(own_count top.qcow2)" 1 "own bitmaps of an image that is given twice"

# ---- images that cannot have one ----

# without ARCHIVE REASON COMMAND...: exit 3, the reason is told, and there is an archive.
without() {
    local name=$1 reason=$2 before
    before=$(archive_count)
    shift 2
    expect_exit 3 "$@" --json --name "$name"
    expect_json 'd["bitmaps_obsolete"] == 0'
    expect_says err "$reason"
    expect_equal "$(archive_count)" $((before + 1)) "archives"
}
qemu-img create -q -f qcow2 -o compat=0.10 v2.qcow2 1M
qemu-img create -q -f raw disk.raw 1M
without v2 'version 2' byre backup --bitmap v2.qcow2
without raw 'raw' byre backup --bitmap disk.raw
new_image some.qcow2
without some 'no qemu-img' byre_without_qemu_img backup --bitmap some.qcow2
expect_equal "$(own_count some.qcow2)" 0 "bitmaps without qemu-img"
# The others get theirs, and what one has of before is kept while there is no new one.
without both 'v2.qcow2' byre backup --bitmap some.qcow2 v2.qcow2
mine=$(own some.qcow2)
expect_equal "$(own_count some.qcow2)" 1 "bitmaps beside an image that cannot have one"
without again 'no qemu-img' byre_without_qemu_img backup --bitmap some.qcow2
expect_equal "$(own some.qcow2)" "$mine" "the last bitmap that was good"

# LUKS: one that was added with the secret.
luks=(--object 'secret,id=s,data=x')
guest='driver=qcow2,file.filename=luks.qcow2,encrypt.key-secret=s'
luks_tool create -q -f qcow2 "${luks[@]}" \
    -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 luks.qcow2 4M
without luks 'encrypted' byre backup --bitmap luks.qcow2
add_to_luks() { qemu-img bitmap "${luks[@]}" --image-opts --add "$guest" "$1"; }
name=$(byre bitmap name)
add_to_luks "$name"
expect_exit 0 byre backup --json --name luks --bitmap-name "$name" luks.qcow2
expect_json 'd["bitmaps_obsolete"] == 0'
saved_with_one luks.qcow2 luks
name=$(byre bitmap name)
add_to_luks "$name"
expect_exit 0 byre -v backup --json --name luks --bitmap-name "$name" luks.qcow2
expect_json 'd["bitmaps_obsolete"] == 1'
expect_says err 'obsolete'
expect_equal "$(own_count luks.qcow2)" 2 "bitmaps that only the secret removes"

# ---- given by name ----

new_image named.qcow2
name=$(byre bitmap name)
expect_exit 2 byre backup --bitmap-name nightly named.qcow2
expect_exit 2 byre backup --bitmap-name "$(byre -r other bitmap name)" named.qcow2
expect_exit 2 byre backup --bitmap-name "$name" --bitmap named.qcow2
without named "$name" byre backup --bitmap-name "$name" named.qcow2
without named 'raw' byre backup --bitmap-name "$name" disk.raw
expect_exit 0 byre backup --bitmap named.qcow2
qemu-img bitmap --add --disable named.qcow2 "$name"
without named "$name" byre backup --bitmap-name "$name" named.qcow2
expect_equal "$(own_count named.qcow2)" 2 "bitmaps beside one that does not track"
qemu-img bitmap --enable named.qcow2 "$name"
expect_exit 0 with_fake "" "" byre backup --json --dry-run --bitmap-name "$name" named.qcow2
expect_missing calls
expect_exit 0 byre backup --json --bitmap-name "$name" named.qcow2
expect_json 'd["bitmaps_obsolete"] == 0'
expect_equal "$(own named.qcow2)" "$name" "the bitmap that was named"
saved_with_one named.qcow2 named
# Each image must have it.
qemu-img create -q -f qcow2 second.qcow2 1M
without two 'second.qcow2' byre backup --bitmap-name "$name" named.qcow2 second.qcow2
qemu-img bitmap --add second.qcow2 "$name"
expect_exit 0 byre backup --name two --bitmap-name "$name" named.qcow2 second.qcow2
foreign_is_untouched named.qcow2

# ---- in use ----

daemon() {
    qemu-storage-daemon --daemonize --pidfile "$T/qsd.pid" --blockdev driver=file,node-name=f,filename="$1" \
        --blockdev driver=qcow2,node-name=q,file=f
    qsd=$(cat qsd.pid)
}
stop_daemon() {
    kill "${1:--TERM}" "$qsd"
    tail --pid="$qsd" -s 0.1 -f /dev/null
}
new_image used.qcow2
at_end 'kill $qsd 2>/dev/null; true'
daemon "$T/used.qcow2"
before=$(archive_count)
expect_exit 11 with_fake "" "" byre backup --bitmap used.qcow2
expect_missing calls
expect_exit 11 with_fake "" "" byre backup --bitmap some.qcow2 used.qcow2
expect_missing calls
expect_exit 11 byre bitmap remove used.qcow2
stop_daemon
expect_equal "$(archive_count)" "$before" "archives"
expect_equal "$(own_count used.qcow2)" 0 "bitmaps of an image in use"
expect_equal "$(own some.qcow2)" "$mine" "the bitmap beside an image in use"
# As a base: it is saved, and has none.
qemu-img create -q -f qcow2 -b used.qcow2 -F qcow2 over.qcow2
expect_exit 0 byre backup --bitmap used.qcow2
mine=$(own used.qcow2)
daemon "$T/over.qcow2"
without used 'lock' byre backup --bitmap --frozen-base used.qcow2
expect_exit 11 byre bitmap remove used.qcow2
stop_daemon
expect_equal "$(own used.qcow2)" "$mine" "the bitmap of an image in use as a base"
# A machine that crashed leaves them of no use.
daemon "$T/used.qcow2"
stop_daemon -KILL
expect_exit 0 byre backup --name used used.qcow2
expect_says err 'nightly.*in use'
expect_exit 0 byre backup --json --name used --bitmap used.qcow2
expect_json 'd["bitmaps_obsolete"] == 0'
saved_with_one used.qcow2 used
[ "$(own used.qcow2)" != "$mine" ] || fail "a bitmap in use was not replaced"
expect_equal "$(bitmaps used.qcow2 nightly)" nightly "somebody else's bitmap that was in use"

# ---- failures ----

new_image fail.qcow2
expect_exit 1 byre backup --bitmap --with nowhere fail.qcow2
expect_equal "$(own_count fail.qcow2)" 0 "bitmaps after a failure"
expect_exit 0 byre backup --bitmap fail.qcow2
mine=$(own fail.qcow2)
expect_exit 1 byre backup --bitmap --with nowhere fail.qcow2
expect_equal "$(own fail.qcow2)" "$mine" "the bitmap of the run before a failure"
expect_exit 1 byre backup --bitmap fail.qcow2 nowhere.qcow2
expect_equal "$(own fail.qcow2)" "$mine" "the bitmap beside an image that is not there"
# Another file under its name, before it is locked.
cp some.qcow2 swap.qcow2
without swap 'is not there' with_fake "after add" 'mv swap.qcow2 fail.qcow2' byre backup --bitmap fail.qcow2
new_image fail.qcow2
# A signal takes back what was added; byre waits for qemu-img, but not for ever.
expect_exit 143 with_fake "after add" 'kill -TERM $PPID' byre backup --bitmap fail.qcow2
expect_equal "$(own_count fail.qcow2)" 0 "bitmaps after SIGTERM"
expect_exit 130 with_fake "before add" 'kill -INT -- -$PPID' setsid -w "$BYRE" backup --bitmap fail.qcow2
expect_equal "$(own_count fail.qcow2)" 0 "bitmaps after Ctrl-C, which is none of qemu-img's business"
foreign_is_untouched fail.qcow2
expect_exit 143 with_fake "before add" 'kill -TERM $PPID; exec tail -f /dev/null' byre backup --bitmap fail.qcow2
expect_equal "$(own_count fail.qcow2)" 0 "bitmaps after SIGTERM, and a qemu-img that hangs"
# One that fails on its way out: what is left is counted, and goes the next time.
expect_exit 0 byre backup --bitmap fail.qcow2
expect_exit 0 with_fake "before remove" 'echo "qemu-img: it will not" >&2; exit 1' \
    byre -v backup --bitmap --json --name fail fail.qcow2
expect_json 'd["bitmaps_obsolete"] == 1'
expect_says err 'it will not'
expect_equal "$(own_count fail.qcow2)" 2 "bitmaps where one could not be removed"
expect_exit 0 byre backup --bitmap --json --name fail fail.qcow2
expect_json 'd["bitmaps_obsolete"] == 0'
saved_with_one fail.qcow2 fail
foreign_is_untouched fail.qcow2

# ---- killed at each step; the next run puts it right ----

killed() {
    local step=$1 archives=$2 left=$3 before
    before=$(archive_count)
    # Its own name, so that the shell's remark on a killed job goes to a file.
    expect_exit 137 with_fake "$step" 'kill -KILL $PPID; [[ $WHEN = after* ]] || exit' byre backup --bitmap --name kill kill.qcow2
    # The wrapper, and what it started, may still be at work.
    while pgrep -f "$T/fake/qemu-img" >/dev/null; do :; done
    expect_equal "$(archive_count)" $((before + archives)) "archives, killed $step"
    expect_equal "$(own_count kill.qcow2)" "$left" "bitmaps, killed $step"
    guest kill.qcow2 'write -P 9 14M 512'
    expect_exit 0 byre backup --json --bitmap --name kill kill.qcow2
    expect_json 'd["bitmaps_obsolete"] == 0'
    saved_with_one kill.qcow2 kill
    foreign_is_untouched kill.qcow2
}
new_image kill.qcow2
expect_exit 0 byre backup --bitmap --name kill kill.qcow2
killed 'before add' 0 1
killed 'after add' 0 2
killed 'before remove' 1 2
killed 'after remove' 1 1
# With two to remove, it is killed between them.
expect_exit 137 with_fake 'after add' 'kill -KILL $PPID' byre backup --bitmap --name kill kill.qcow2
while pgrep -f "$T/fake/qemu-img" >/dev/null; do :; done
killed 'after remove' 1 2
expect_exit 0 byre check --read-data

# ---- a key that reads no data does all of it ----

(umask 077 && printf 'k%.0s' {1..64} >cron.key)
expect_exit 0 byre key add --role append --new-key-file cron.key
export BYRE_KEY_FILE=$T/cron.key
new_image cron.qcow2
expect_exit 0 byre backup --bitmap cron.qcow2
io cron.qcow2 'write -P 3 3M 1k'
expect_exit 0 byre backup --bitmap --json cron.qcow2
expect_json 'd["bitmaps_obsolete"] == 0'
saved_with_one cron.qcow2 cron
name=$(byre bitmap name)
qemu-img bitmap --add cron.qcow2 "$name"
expect_exit 0 byre backup --bitmap-name "$name" cron.qcow2
saved_with_one cron.qcow2 cron
expect_exit 0 byre bitmap remove cron.qcow2
expect_equal "$(cat out)" "$name" "what was removed"
expect_equal "$(own_count cron.qcow2)" 0 "own bitmaps"
expect_exit 0 byre check --read-data
