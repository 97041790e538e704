#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Entries of the log removed and overwritten: it is told, and a repair brings back what was there.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 65536 32
qemu-img create -q -f qcow2 disk.qcow2 8M
# change N: and keeps what the disk is then.
change() {
    guest_write disk.qcow2 data "$1M"
    cp disk.qcow2 "disk-$1.qcow2"
}
expect_exit 0 byre init --reserve 0 --recovery-code-file code
fast_key
(umask 077 && printf 'b%.0s' {1..64} >backup-key)
expect_exit 0 byre key add --role backup --new-key-file backup-key
change 1
expect_exit 0 byre backup --name one disk.qcow2
change 2
expect_exit 0 byre --key-file backup-key backup --name two --tag t disk.qcow2
expect_exit 0 byre backup --name old disk.qcow2
expect_exit 0 byre tag one --add kept
expect_exit 0 byre forget old
change 3
expect_exit 0 byre --key-file backup-key backup --name three disk.qcow2
expect_exit 0 byre prune --no-grace --max-unused 0
change 4
expect_exit 0 byre backup --name four disk.qcow2
expect_exit 0 byre check --read-data
names=(one two three four)
cp -a repo whole
cp -a state state.whole
folder=repo/log/0000000000000
entries=$(find "$folder" -type f | wc -l)
[ "$entries" -ge 12 ] || fail "only $entries entries"

anew() {
    rm -rf repo state cache back
    cp -a whole repo
    cp -a state.whole state
}

# flip FILE OFFSET: one bit.
flip() {
    local byte
    byte=$(dd if="$1" bs=1 skip="$2" count=1 status=none | od -An -tu1)
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 4)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# damage NUMBER HOW
damage() {
    local file
    file=$folder/$(printf %03x "$1")
    case $2 in
    removed) rm "$file" ;;
    flipped) flip "$file" $(($(stat -c %s "$file") * (7 * $1 % 10) / 10)) ;;
    zeroed) dd if=/dev/zero of="$file" bs=64 count=2 conv=notrunc status=none ;;
    cut) truncate -s $(($(stat -c %s "$file") / 2)) "$file" ;;
    esac
}

restores() {
    local i archive
    for i in "$@"; do
        archive=${names[i]}
        rm -rf back
        expect_exit 0 byre restore "name:$archive" --to back
        same_layer "disk-$((i + 1)).qcow2" back/disk.qcow2
    done
}

# repaired: by the key in use; a second repair has nothing to do.
repaired() {
    local before files
    files=$(cd repo && find packs segments keys -type f | sort)
    before=$(find "$folder" -type f | wc -l)
    expect_exit 0 "$@" check --repair --read-data
    expect_equal "$(find "$folder" -type f | wc -l)" $((before + 1)) "entries after the repair"
    expect_equal "$(cd repo && find packs segments keys -type f | sort)" "$files" "files"
    expect_exit 0 "$@" check --repair --read-data
    expect_silent "$T/err"
    expect_equal "$(find "$folder" -type f | wc -l)" $((before + 1)) "entries after a second repair"
}

founder() { env -u BYRE_KEY_FILE BYRE_PASSWORD='correct horse battery staple' "$BYRE" "$@"; }

hows=(removed flipped zeroed cut)
for ((number = 1; number < entries; number++)); do
    how=${hows[number % 4]}
    # Without the last one there is nothing to see, but for who has seen it.
    [ "$number,$how" != "$((entries - 1)),removed" ] || how='cut'
    anew
    damage "$number" "$how"
    fingerprint repo/log/*/* >before
    expect_exit 4 byre check
    expect_says "$T/err" "log entry $number:"
    expect_exit 4 byre list
    case $number in
    1 | 2) # the entry that added the key in use is behind it, or is it
        expect_exit 12 byre check --repair
        expect_says "$T/err" 'recovery code'
        repaired founder
        [ "$number" = 1 ] || export BYRE_KEY_FILE='' BYRE_PASSWORD='correct horse battery staple'
        ;;
    *) repaired byre ;;
    esac
    # shellcheck disable=SC2046
    fingerprint $(sed -n 's/^[0-9a-f]\{64\}  //p' before) >after
    cmp before after || fail "entry $number: a file of the log was touched"
    expect_exit 0 byre list --json
    expect_json '{a["name"] for a in d} >= {"one", "two", "three", "four"}'
    restores $((number % 4))
    # 2 added the key that added this one.
    [ "$number" = 2 ] || [ "$number" = 3 ] ||
        expect_exit 0 byre --key-file backup-key backup --name five disk.qcow2
    expect_exit 0 byre check
    export BYRE_KEY_FILE=$T/fast-key
    unset BYRE_PASSWORD
done

# Several at once, and again after a repair; what comes back may have been forgotten.
anew
for number in 5 6 9; do damage "$number" flipped; done
repaired byre
damage 7 removed # passed over
expect_exit 0 byre check
damage "$entries" flipped # the reset
expect_exit 4 byre check
repaired byre
restores 0 1 2 3

# A damaged entry in the middle, and the last ones gone: that is a rollback as well.
anew
damage 6 cut
damage $((entries - 1)) removed
expect_exit 4 byre check --repair
expect_says "$T/err" 'accept-rollback|rolled back'
expect_exit 0 byre check --repair --accept-rollback
expect_exit 0 byre list

# Who may not, and what cannot be.
anew
damage 6 cut
expect_exit 12 byre --key-file backup-key check --repair
expect_says "$T/err" 'role full'
expect_exit 0 byre check --repair
restores 3
anew
damage 0 zeroed
expect_exit 4 byre check --repair
expect_says "$T/err" 'entry 0'

# Nothing to repair.
anew
expect_exit 0 byre check --repair
expect_silent "$T/err"
