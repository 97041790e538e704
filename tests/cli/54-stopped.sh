#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Every long command ends soon after a signal, and leaves nothing half.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires python3 strace
! sanitized || skip "a sanitized program does not run below strace"

random_file disk.raw $((24 << 20)) 54
new_repository
fast_key
expect_exit 0 byre backup --name disk disk.raw

# stopped SIGNAL CODE WHEN ARGUMENT...: with slow reading, sends SIGNAL at the first status line that
# WHEN matches; the command has five seconds.
stopped() {
    local signal=$1 want=$2 when=$3 pid line begun='' code=0
    shift 3
    rm -f lines
    mkfifo lines
    strace -D -f -q -o "$T/trace" -e trace=pread64 -e inject=pread64:delay_exit=25000 \
        "$BYRE" --json "$@" >lines 2>"$T/err" &
    pid=$!
    while IFS= read -r line; do
        case $line in
        *summary*) fail "$signal came too late: $line" ;;
        esac
        if [ -z "$begun" ] && [[ $line =~ $when ]]; then
            kill "-$signal" $pid
            begun=$EPOCHREALTIME
        fi
    done <lines
    wait $pid || code=$?
    expect_equal "$code" "$want" "exit code of $1 after SIG$signal"
    line=$(((${EPOCHREALTIME/./} - ${begun/./}) / 1000))
    [ $line -lt 5000 ] || fail "$1 took $line ms to stop"
}

for signal in INT:130 TERM:143; do
    stopped ${signal/:/ } status restore disk --format raw --to back.raw
    expect_missing back.raw
    [ -z "$(find . -maxdepth 1 -name 'back.raw*')" ] || fail "a temporary file of a restore is left"
    stopped ${signal/:/ } status check --read-data
done
stopped TERM 143 status restore disk --to back --verify
expect_empty_folder back
expect_exit 0 byre check --read-data

# A copy that is stopped is gone on with. It reads 32 MiB at once.
size=$((72 << 20))
random_file disk.raw $size 55
expect_exit 0 byre backup --name disk disk.raw
export BYRE_FROM_KEY_FILE=$BYRE_KEY_FILE
source=$BYRE_REPOSITORY
export BYRE_REPOSITORY=$T/copy
expect_exit 0 byre init --reserve 0
stopped INT 130 '"bytes_new":[1-9]' copy --from "$source" disk
expect_equal "$(archive_count)" 0 "archives after a copy that was stopped"
nothing_left
expect_exit 0 byre copy --json --from "$source" disk
expect_json "d['bytes_new'] < $size"
expect_exit 0 byre check --read-data
