#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A repository that went back in time is told from one that did not.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 65536 17
qemu-img create -q -f qcow2 disk.qcow2 4M
guest_write disk.qcow2 data 1M
new_repository
expect_exit 0 byre backup --name one disk.qcow2
cp -a repo older
guest_write disk.qcow2 data 2M
expect_exit 0 byre backup --name two disk.qcow2
expect_exit 0 byre list
expect_silent "$T/err"

mv repo newer
cp -a older repo
for command in list 'show one'; do
    # shellcheck disable=SC2086
    expect_exit 0 byre $command
    expect_says "$T/err" 'warning.*(older|roll|back)'
done
expect_exit 0 byre list --json
expect_json 'len(d) == 1'
expect_exit 0 byre restore one --to back
expect_says "$T/err" 'warning.*(older|roll|back)'
expect_exit 4 byre backup --name three disk.qcow2
expect_says "$T/err" 'accept-rollback'
expect_exit 4 byre check
expect_exit 4 byre check --read-data --json
expect_json 'd["message_type"] == "summary" and d["errors"] > 0'
expect_equal "$(archive_count 2>/dev/null)" 1 "archives after a backup that was refused"

# With the newer one in place again there is nothing to settle.
mv repo older2
cp -a newer repo
expect_exit 0 byre check
expect_exit 0 byre list
expect_silent "$T/err"
rm -r repo
mv older2 repo
expect_exit 4 byre check

# Settled, it works on; and now the newer one is the strange one.
expect_exit 0 byre check --accept-rollback
expect_exit 0 byre check
expect_exit 0 byre list
expect_silent "$T/err"
expect_exit 0 byre backup --name three disk.qcow2
expect_exit 0 byre restore three --to back3
same_layer disk.qcow2 back3/disk.qcow2
expect_exit 0 byre check --read-data
mv repo forked
cp -a newer repo
byre backup --name four disk.qcow2 >"$T/out" 2>"$T/err" && fail "a forked log was taken for a continued one"

# Another machine never saw anything, and has nothing to say.
rm -r repo
cp -a older repo
expect_exit 0 byre check --state-dir state2 --cache-dir cache2
expect_exit 0 byre list --state-dir state2
expect_silent "$T/err"

# Another repository under the same path is another one, not an older one.
rm -r repo
new_repository
expect_exit 0 byre check
expect_exit 0 byre backup disk.qcow2

# ---- what may be done while it is not settled, and what other hosts think of it ----
rm -r repo older newer forked state cache
export BYRE_REPOSITORY=$T/repo
new_repository
fast_key
head -c 64 /dev/urandom >another.key
chmod 600 another.key
code=$(byre key list --json | python3 -c 'import json, sys; print(*[k["id"] for k in json.load(sys.stdin) if k["kind"] == "recovery-code"])')
host() { # host NAME COMMAND...: as another machine
    local name=$1
    shift
    byre --state-dir "state-$name" --cache-dir "cache-$name" "$@"
}
files() { (cd repo && find . -type f -exec sha256sum {} + | sort); }
expect_exit 0 byre backup --name one disk.qcow2
expect_exit 0 host knows-older list
cp -a repo older
guest_write disk.qcow2 data 3M
expect_exit 0 byre backup --name two disk.qcow2
expect_exit 0 host knows-newer list
cp -a repo newer
rm -r repo
cp -a older repo
before=$(files)
for command in list 'list --json' 'show one' 'diff one one' stats 'key list' 'restore one --to out1 --verify' \
    'restore one --format raw --to out2'; do
    # shellcheck disable=SC2086
    expect_exit 0 byre $command
    expect_says "$T/err" 'warning.*rolled back'
    # shellcheck disable=SC2086
    expect_exit 0 host knows-newer ${command//out/other}
    expect_says "$T/err" 'warning.*rolled back'
done
same_content out1/disk.qcow2 out2 qcow2 raw
for command in 'backup --name three disk.qcow2' 'backup --dry-run disk.qcow2' 'forget one' 'forget --keep-last 1' \
    'forget one --prune' prune 'prune --no-grace' 'tag one --add x' 'key add --new-key-file another.key' \
    'key passwd --new-key-file another.key' "key remove $code"; do
    # shellcheck disable=SC2086
    expect_exit 4 byre $command
    expect_says "$T/err" 'rolled back.*accept-rollback'
done
expect_equal "$(files)" "$before" "files of a repository that is rolled back"
expect_exit 4 byre check --json
expect_json 'd["errors"] == 1'
expect_says "$T/err" 'rolled back'

# A host that never saw the newer one works on, and makes a history of its own.
expect_exit 0 host knows-older backup --name elsewhere disk.qcow2
expect_silent "$T/err"
expect_exit 0 host knows-older check
# For who saw the newer one it is as long, and another.
expect_exit 0 byre list
expect_says "$T/err" 'warning.*another history'
expect_exit 4 byre backup disk.qcow2
expect_says "$T/err" 'another history.*accept-rollback'
expect_exit 4 byre check
expect_says "$T/err" 'another history'
# Longer than what was seen, it still is.
expect_exit 0 host knows-older backup --name elsewhere-again disk.qcow2
expect_exit 4 byre check
expect_says "$T/err" 'another history'
expect_exit 4 byre forget one
# Each settles it for himself; then all go on with one history.
expect_exit 0 byre check --accept-rollback
expect_exit 0 byre backup --name here disk.qcow2
expect_exit 0 byre restore elsewhere --to out3 --verify
same_layer disk.qcow2 out3/disk.qcow2
expect_exit 4 host knows-newer check
expect_exit 0 host knows-newer check --accept-rollback
expect_exit 0 host knows-newer list --json
expect_silent "$T/err"
expect_json '[a["name"] for a in d] == ["one", "elsewhere", "elsewhere-again", "here"]'
# The branch that was left is the strange one now, for all of them, and cannot be mixed in.
mv repo chosen
cp -a newer repo
for name in knows-older knows-newer; do
    expect_exit 4 host $name check
    expect_says "$T/err" 'rolled back|another history'
done
cp -n -r chosen/log chosen/packs chosen/segments repo/
expect_exit 4 byre list
expect_says "$T/err" 'log entry.*two histories'
expect_exit 4 host new list
rm -r repo
mv chosen repo
expect_exit 0 byre check --read-data
