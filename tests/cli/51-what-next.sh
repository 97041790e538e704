#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What was mistyped is understood, and whatever fails says what to do about it.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

# says CODE PATTERN COMMAND...: the command exits with CODE, and stderr says PATTERN.
says() {
    local code=$1 pattern=$2
    shift 2
    expect_exit "$code" byre "$@"
    expect_says "$T/err" "$pattern"
}

# Words: mistyped, abbreviated, and those of other programs.
says 2 'did you mean --full-read\?' backup --fulll
says 2 'did you mean --read-data\?' check --read-dat
says 2 'calls that --to' restore --target x
says 2 'calls that --last' list --latest 3
says 2 'did you mean backup\?' bakcup
says 2 'calls that list' snapshots
says 2 'calls that backup' create
says 2 'calls that restore' extract
says 2 'has no locks' unlock
says 2 'check --repair' rebuild-index
says 2 'does not mount' mount
says 2 'which repository\? give --repo' list --repo ''

# No repository; one already.
says 10 'byre init makes one' list
new_repository
says 1 'there is a repository here already' init
mkdir other
touch other/file
says 1 'something in this folder' init --repo other
says 1 'repository has none yet' show web

# No passphrase, a wrong one.
BYRE_PASSWORD=wrong says 12 'recovery code that init printed' list
(
    unset BYRE_PASSWORD
    expect_exit 2 setsid "$BYRE" list
    expect_says "$T/err" '--password-file.*BYRE_PASSWORD'
)
fast_key

# Sources.
qemu-img create -q -f qcow2 disk.qcow2 4M
io disk.qcow2 'write -P 1 0 64k'
says 1 'no-such: .*No such file' backup no-such
qemu-img create -q -f qcow2 -u -b gone.qcow2 -F qcow2 lost.qcow2 4M
says 1 'lost.qcow2: .*gone.qcow2: .*put it back, or .*--only-top' backup lost.qcow2
expect_exit 0 byre backup lost.qcow2 --only-top --name lost
qemu-img create -q -f qcow2 -u -b nbd://localhost/x -F raw far.qcow2 4M
says 1 '--only-top' backup far.qcow2
mkfifo go
qemu-io -f qcow2 disk.qcow2 <go >"$T/qemu-io" 2>&1 &
pid=$!
at_end "kill $pid 2>/dev/null || true"
exec 5>go
echo 'write 1M 64k' >&5
until grep -q wrote "$T/qemu-io"; do kill -0 $pid || fail "qemu-io ended"; done
says 11 'in use: .*' backup disk.qcow2
expect_says "$T/err" "process $pid .qemu-io. has it open for writing"
expect_says "$T/err" 'shut the machine down'
exec 5>&-
wait $pid
expect_exit 0 byre backup disk.qcow2 --name webserver
expect_exit 0 byre backup disk.qcow2 --name database

# Archives, images, snapshots.
says 1 'did you mean webserver\?' show webservr
says 1 'did you mean webserver\?' restore name:web --to x
says 1 'did you mean latest\?' stats lates
says 1 'did you mean database\?' diff webserver databse
says 1 'byre list. shows' forget nonsense
qemu-img snapshot -c monday disk.qcow2
expect_exit 0 byre backup disk.qcow2 --name snap
says 1 'no snapshot x, but: monday' restore snap --to x --snapshot x
says 1 'no snapshot x, and no other' restore webserver --to x --snapshot x
says 2 '--keep-daily' forget
expect_exit 0 byre restore webserver --to back
says 1 'back/disk.qcow2: exists already; --force' restore webserver --to back

# A role that may not do it; damage.
(umask 077 && printf 'a%.0s' {1..64} >append.key)
expect_exit 0 byre key add --role append --new-key-file append.key
says 12 'key of role full is needed' --key-file append.key restore webserver --to x
expect_says "$T/err" '--key-file or --password-file'
python3 - <<'END'
import os
packs = [os.path.join(d, f) for d, _, files in os.walk("repo/packs") for f in files]
for pack in packs:
    os.chmod(pack, 0o600)
    with open(pack, "r+b") as f:
        f.seek(200)
        f.write(os.urandom(300))
END
rm -rf cache
says 4 'byre check tells which' restore webserver --to y
expect_equal "$(grep -c . "$T/err")" 2
says 4 'byre check --repair gives up what is lost' check --read-data
# It is for people: programs get the one line, and quiet is quiet.
expect_exit 4 byre restore webserver --to y --json
expect_equal "$(grep -c . "$T/err")" 1
expect_exit 4 byre restore webserver --to y -q
expect_equal "$(grep -c . "$T/err")" 1
