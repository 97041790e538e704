#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Stopped by a signal: the right exit code, nothing half, and the next run reuses what was stored.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img python3

size=$((64 << 20))
random_file disk.raw $size 23
random_file base.raw $((1 << 20)) 24
new_repository

# interrupted SIGNAL PERCENT COMMAND...: sends SIGNAL as soon as PERCENT is reported, and sets ${code}.
interrupted() {
    local signal=$1 percent=$2 pid line
    shift 2
    rm -f lines
    mkfifo lines
    "$BYRE" --json "$@" >lines 2>"$T/err" &
    pid=$!
    code=0
    while IFS= read -r line; do
        case $line in
        *'"percent_done":0.'*)
            line=${line#*percent_done\":0.}
            line=${line%%,*}00
            # Once: a second one would end it at once.
            if [ "${line:0:2}" -ge "$percent" ]; then
                kill "-$signal" $pid
                percent=100
            fi
            ;;
        *summary*) fail "$signal came too late: $line" ;;
        esac
    done <lines
    wait $pid || code=$?
}

# The first half is uploaded when the signal comes.
interrupted INT 50 backup --compression 19 --threads 1 --name int disk.raw
expect_equal "$code" 130 "exit code after SIGINT"
expect_says "$T/err" '"message_type": ?"error".*"code": ?130'
expect_equal "$(archive_count)" 0 "archives after SIGINT"
nothing_left
expect_exit 0 byre check --read-data
interrupted TERM 60 backup --compression 19 --threads 1 --name term disk.raw
expect_equal "$code" 143 "exit code after SIGTERM"
expect_equal "$(archive_count)" 0 "archives after SIGTERM"
nothing_left
expect_exit 0 byre backup --json --name whole disk.raw
expect_json "d['bytes_new'] < $size * 3 // 4"
expect_exit 0 byre restore whole --format raw --to back.raw
cmp disk.raw back.raw || fail "what was reused is not what was there"
rm back.raw
expect_exit 0 byre check --read-data

# Killed outright, it leaves nothing that hinders.
random_file disk.raw $size 25
interrupted KILL 50 backup --compression 19 --threads 1 --name kill disk.raw
expect_equal "$code" 137 "exit code after SIGKILL"
expect_equal "$(archive_count)" 1 "archives after SIGKILL"
expect_exit 0 byre check --read-data
expect_exit 0 byre backup --json --name again disk.raw
expect_exit 0 byre restore again --format raw --to back.raw
cmp disk.raw back.raw || fail "after SIGKILL, a backup is not what was there"
rm back.raw

# A reader that goes away ends it too, with an error.
code=0
"$BYRE" restore again --format raw --to - 2>"$T/err" | head -c 1000 >/dev/null || code=$?
[ "$code" != 0 ] || fail "a restore into a closed pipe claims success"
