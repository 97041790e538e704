#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# SIGTERM ends a restore to stdout, also while nobody reads what it writes.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires python3

random_file disk.raw 8388608 28
new_repository
expect_exit 0 byre backup --name again disk.raw

# The restore's output waits for its reader, so that the signal is in time.
mkfifo pipe
"$BYRE" restore again --format raw --to - >pipe 2>"$T/err" &
pid=$!
exec {from}<pipe
head -c 1000 <&"$from" >/dev/null
kill -TERM $pid
code=0
# The pipe is full, and nobody reads on: a signal has to end even that.
timeout 20 tail --pid=$pid -f /dev/null || fail "SIGTERM does not end a restore to a pipe that nobody reads"
wait $pid || code=$?
exec {from}<&-
expect_equal "$code" 143 "exit code of a restore after SIGTERM"
