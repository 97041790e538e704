#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Killed at a system call, again and again: a backup, forget, prune, copy, check, or a key being
# added, never spoils what is there, and what is there at the end can be restored.
# usage: kill.sh [KILLS] (default: 40)
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
requires strace qemu-img python3
kills=${1:-40}
RANDOM=4711 # the same points each time

strace -qq -e trace=none true 2>/dev/null || skip "strace may not trace here"
# The leak checker cannot work below a tracer.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
calls=write,pwrite64,openat,fsync,linkat,unlinkat,renameat,renameat2,mkdirat,close

random_file data $((3 << 20)) 31
qemu-img create -q -f qcow2 disk.qcow2 32M
new_repository
fast_key

# change N: what the guest has written since.
change() {
    python3 -c '
import sys
seed, data = int(sys.argv[1]), open("data", "rb").read()
at = seed * 77777 % (len(data) - 131072)
open("piece", "wb").write(data[at:at + 131072])' "$1"
    guest_write disk.qcow2 piece $(($1 * 196608 % (30 << 20) / 65536 * 65536))
}

# points FILE COMMAND...: runs it, and writes each of its calls to FILE: name, and which of that name.
points() {
    local file=$1
    shift
    strace -f -qq -e trace="$calls" -o "$T/calls" "$@" >/dev/null 2>&1 || fail "$* below strace"
    sed -n 's/^[0-9]* *\([a-z0-9]*\)(.*/\1/p' "$T/calls" | awk '{ print $1, ++n[$1] }' >"$file"
    [ -s "$file" ] || fail "no calls of $* were seen"
}

# killed FILE COMMAND...: kills it at one of the points in FILE; false where it ends before.
killed() {
    local call at code=0
    read -r call at < <(sed -n "$((RANDOM % $(wc -l <"$1") + 1))p" "$1")
    shift
    # The inner shell is the one that tells of the kill.
    (
        strace -f -qq -e trace="$call" -e inject="$call:signal=SIGKILL:when=$at" -o /dev/null "$@"
        exit $?
    ) >"$T/out" 2>"$T/err" || code=$?
    case $code in
    137) return 0 ;;
    0) return 1 ;;
    esac
    cat "$T/err" >&2
    fail "exit $code, not killed at $call $at: $*"
}

# there REPOSITORY NAME: whether the archive is.
there() { byre --repo "$1" show "name:$2" >/dev/null 2>&1; }

# same_back REPOSITORY NAME: restores it, and holds it against its image.
same_back() {
    expect_exit 0 byre --repo "$1" restore "name:$2" --to back
    same_content "image-$2" back/disk.qcow2
    rm -r back
}

# The other repository, for copies, has the same secrets.
copies=$T/copies
export BYRE_FROM_KEY_FILE=$BYRE_KEY_FILE
expect_exit 0 byre init --repo "$copies" --reserve 0 --chunker-from "$BYRE_REPOSITORY"

# How each command is called: it finds the name of an archive behind it.
backup=(backup --threads 1 disk.qcow2 --name)
forget=(forget)
prune=(prune --no-grace --max-unused 0)
copy=(copy --repo "$copies" --from "$BYRE_REPOSITORY")
check=(check --read-data)
key_add=(key add --role append --new-key-file new-key)
printf 'n%.0s' {1..64} >new-key && chmod 600 new-key

# Each of them once, for the calls that it makes.
change 0
cp disk.qcow2 image-first
points backup-points "$BYRE" "${backup[@]}" first
change 1
cp disk.qcow2 image-second
expect_exit 0 byre "${backup[@]}" second
points copy-points "$BYRE" "${copy[@]}" name:second
points forget-points "$BYRE" "${forget[@]}" name:first
points prune-points "$BYRE" "${prune[@]}"
points check-points "$BYRE" "${check[@]}"
points key_add-points "$BYRE" "${key_add[@]}"

declare -A struck=()
names=(second) copied=(second) survived=0
forgotten=0
turns=(backup backup copy backup forget prune check backup forget prune copy key_add)
for ((i = 2; i < kills + 2; i++)); do
    what=${turns[i % ${#turns[@]}]}
    name=${names[0]} argument=()
    if [ "$what" = forget ] && [ ${#names[@]} -lt 3 ]; then
        change "$i"
        cp disk.qcow2 "image-whole-$i"
        expect_exit 0 byre "${backup[@]}" "whole-$i"
        names+=("whole-$i")
    fi
    case $what in
    backup)
        change "$i"
        cp disk.qcow2 image-try
        argument=("try-$i")
        ;;
    forget) argument=("name:$name") ;;
    copy) argument=("name:${names[-1]}") ;;
    esac
    declare -n command=$what
    completed=true
    if killed "$what-points" "$BYRE" "${command[@]}" "${argument[@]}"; then
        completed=false
        struck[$what]=$((${struck[$what]:-0} + 1))
    fi
    # Killed after the log had its entry, or not at all: then it is done for good.
    case $what in
    backup)
        if there "$BYRE_REPOSITORY" "try-$i"; then
            mv image-try "image-try-$i"
            names+=("try-$i")
        elif $completed; then
            fail "a backup is not there"
        fi
        ;;
    forget)
        if there "$BYRE_REPOSITORY" "$name"; then
            ! $completed || fail "what was forgotten is there"
            expect_exit 0 byre "${forget[@]}" "name:$name" # so that a prune has work
        fi
        names=("${names[@]:1}")
        forgotten=$((forgotten + 1))
        ;;
    copy)
        if there "$copies" "${names[-1]}"; then
            [ "${copied[-1]}" = "${names[-1]}" ] || copied+=("${names[-1]}")
        elif $completed; then
            fail "a copy is not there"
        fi
        expect_exit 0 byre check --repo "$copies"
        ;;
    esac
    expect_exit 0 byre check
    expect_equal "$(archive_count)" ${#names[@]} "archives after $what"
    survived=$((survived + 1))
    ((i % 20 != 0)) || same_back "$BYRE_REPOSITORY" "${names[RANDOM % ${#names[@]}]}"
done

# Undisturbed again, and all of it.
cp disk.qcow2 image-last
expect_exit 0 byre "${backup[@]}" last
names+=(last)
expect_exit 0 byre "${copy[@]}" name:last
copied+=(last)
for repository in "$BYRE_REPOSITORY" "$copies"; do
    expect_exit 0 byre --repo "$repository" "${prune[@]}"
    expect_exit 0 byre --repo "$repository" check --read-data
done
expect_equal "$(archive_count)" ${#names[@]} "archives"
for name in "${names[@]}"; do same_back "$BYRE_REPOSITORY" "$name"; done
for name in "${copied[@]}"; do same_back "$copies" "$name"; done
total=0 each=
for what in "${!struck[@]}"; do
    total=$((total + struck[$what]))
    each+=" $what ${struck[$what]}"
done
((total * 2 >= kills)) || fail "only $total of $kills were killed"
echo "kills: $total of $kills runs killed ($each ), $survived checks, $forgotten archives forgotten," \
    "$((${#names[@]} + ${#copied[@]})) restored equal"
