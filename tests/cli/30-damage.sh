#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Each file of a repository damaged: check tells, and no wrong byte is restored.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 40960 15
random_file more 8192 16
qemu-img create -q -f qcow2 -o cluster_size=4k base.qcow2 1M
guest_write base.qcow2 data 64K
qemu-img create -q -f qcow2 -o cluster_size=4k -b base.qcow2 -F qcow2 top.qcow2
guest_write top.qcow2 more 512K
echo '<domain/>' >vm.xml
expect_exit 0 byre init --reserve 0 --recovery-code-file code
echo 'another' >pw
expect_exit 0 byre key add --role append --new-password-file pw
fast_key
expect_exit 0 byre backup --name first --with vm.xml top.qcow2
guest_write top.qcow2 more 128K
expect_exit 0 byre backup --name second --tag x top.qcow2
expect_exit 0 byre check --read-data
byre restore first --to want-first -q
byre restore second --to want-second -q
cp -a repo whole
cp -a state state.whole
cp -a cache cache.whole

# probe WHAT: holds the damaged repository against what is promised.
probes=0
problems=0
probe() {
    local archive got
    probes=$((probes + 1))
    # The cache and the state of before: damage has to be seen although they know better.
    rm -rf state cache
    cp -a state.whole state
    cp -a cache.whole cache
    got=0
    byre check --read-data >"$T/out" 2>"$T/err" || got=$?
    case $got in
    4 | 12) [ -s "$T/err" ] || { echo "check says nothing: $1"; problems=$((problems + 1)); } ;;
    10) [ "${1%% *}" = config ] || { echo "check exits with $got: $1"; problems=$((problems + 1)); } ;;
    *) echo "check --read-data exits with $got: $1"; problems=$((problems + 1)); head -n 3 "$T/err" ;;
    esac
    # And on a machine that has neither: wrong bytes never come back.
    for archive in first second; do
        rm -rf got state cache
        got=0
        byre restore "name:$archive" --to got >"$T/out" 2>"$T/err" || got=$?
        if [ "$got" = 0 ]; then
            diff -r got "want-$archive" >"$T/diff" ||
                { echo "restore $archive gives wrong bytes: $1"; problems=$((problems + 1)); cat "$T/diff"; }
        else
            case $got in
            1 | 4 | 10 | 12) ;;
            *) echo "restore $archive exits with $got: $1"; problems=$((problems + 1)); head -n 3 "$T/err" ;;
            esac
            # What was complete may be there; under a final name it is right.
            if [ -d got ]; then
                (cd got && find . -type f) | while read -r file; do
                    cmp -s "got/$file" "want-$archive/$file" || echo "$file"
                done >"$T/left"
                [ ! -s "$T/left" ] || { echo "a failed restore leaves $(cat "$T/left"): $1"; problems=$((problems + 1)); }
            fi
        fi
    done
}

# heal FILE: undoes the damage.
heal() { cp -a "whole/$1" "repo/$1"; }

flip() {
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %x $((byte ^ (1 << ($2 % 8)))))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

mapfile -t files < <(cd whole && find . -type f -printf '%P\n' | LC_ALL=C sort)
[ "${#files[@]}" -ge 12 ] || fail "only ${#files[@]} files in the repository"
for i in "${!files[@]}"; do
    file=${files[i]}
    size=$(stat -c %s "whole/$file")
    if [ "$size" = 0 ]; then continue; fi
    # The first and last bytes and some between, others for each file.
    if sanitized && [ $((i % 4)) != 0 ]; then continue; fi
    for at in 9 $((i % 12)) $((size * (3 + i % 5) / 10)) $((size * (8 - i % 3) / 10)) $((size - 1 - i % 20)); do
        if [ "$at" -lt 0 ] || [ "$at" -ge "$size" ]; then continue; fi
        chmod u+w "repo/$file"
        flip "repo/$file" "$at"
        probe "$file with a bit flipped at $at of $size"
        heal "$file"
    done
    chmod u+w "repo/$file"
    truncate -s $((size / 2)) "repo/$file"
    probe "$file cut in half"
    heal "$file"
    rm -f "repo/$file"
    probe "$file deleted"
    heal "$file"
done

# Two of a kind swapped.
for kind in packs segments log/0000000000000 keys; do
    mapfile -t pair < <(cd whole && find $kind -maxdepth 1 -type f | LC_ALL=C sort | tail -n 2)
    [ "${#pair[@]}" = 2 ] || continue
    cp "whole/${pair[0]}" "repo/${pair[1]}"
    cp "whole/${pair[1]}" "repo/${pair[0]}"
    probe "${pair[0]} and ${pair[1]} swapped"
    heal "${pair[0]}"
    heal "${pair[1]}"
done

rm -rf state cache
cp -a state.whole state
cp -a cache.whole cache
expect_exit 0 byre check --read-data
[ "$problems" = 0 ] || fail "$problems problems in $probes probes"
