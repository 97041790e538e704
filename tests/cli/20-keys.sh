#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Keys: roles, passphrase sources and their order, recovery code, removal, epochs.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 setsid

random_file data 131072 12
qemu-img create -q -f qcow2 disk.qcow2 4M
guest_write disk.qcow2 data 1M
expect_exit 0 byre init --reserve 0 --recovery-code-file code
first=$BYRE_PASSWORD
expect_exit 0 byre backup --name first disk.qcow2

# with SECRET-OPTIONS -- COMMAND: byre with another secret, and none in the environment.
as() { env -u BYRE_PASSWORD "$BYRE" "$@" </dev/null; }
key_id() { byre key list --json | python3 -c 'import json, sys; print([k["id"] for k in json.load(sys.stdin) if k["role"] == sys.argv[1] and k["kind"] == sys.argv[2]][int(sys.argv[3])])' "$@"; }

# Wrong, and nothing there.
BYRE_PASSWORD=wrong expect_exit 12 byre list
expect_silent "$T/out"
BYRE_PASSWORD=wrong expect_exit 12 byre backup disk.qcow2
BYRE_PASSWORD="$first " expect_exit 12 byre list
expect_exit 10 byre list --repo no-such
mkdir void
expect_exit 10 byre list --repo void
expect_empty_folder void
expect_exit 10 byre backup disk.qcow2 --repo void
expect_exit 2 env -u BYRE_REPOSITORY "$BYRE" list
expect_exit 2 setsid env -u BYRE_PASSWORD "$BYRE" list </dev/null
for way in --key-file --password-file --password-command BYRE_KEY_FILE BYRE_PASSWORD_FILE BYRE_PASSWORD_COMMAND BYRE_PASSWORD; do
    expect_says "$T/err" "$way"
done

# The order of sources: each with a right one and wrong ones behind it.
head -c 32 /dev/urandom >keyfile
expect_exit 0 byre key add --new-key-file keyfile
echo 'the append one' >pw-append
echo 'the backup one' >pw-backup
printf 'the full one\nsecond line\n' >pw-full
expect_exit 0 byre key add --role append --new-password-file pw-append
expect_exit 0 byre key add --role backup --new-password-file pw-backup
expect_exit 0 byre key add --role full --new-password-file pw-full --json
expect_json 'd["message_type"] == "summary" and len(d["key"]) == 32'
echo wrong >pw-wrong
export BYRE_PASSWORD=wrong
expect_exit 0 byre list --key-file keyfile --password-file pw-wrong --password-command 'echo wrong'
head -c 32 /dev/urandom >wrong-key
expect_exit 12 byre list --key-file wrong-key --password-file pw-full
expect_exit 0 byre list --password-file pw-full --password-command 'echo wrong'
expect_exit 12 byre list --password-file pw-wrong --password-command 'cat pw-full'
BYRE_KEY_FILE=wrong-key BYRE_PASSWORD_FILE=pw-wrong expect_exit 0 byre list --password-command 'cat pw-full'
BYRE_KEY_FILE=keyfile BYRE_PASSWORD_FILE=pw-wrong BYRE_PASSWORD_COMMAND='echo wrong' expect_exit 0 byre list
BYRE_PASSWORD_FILE=pw-full BYRE_PASSWORD_COMMAND='echo wrong' expect_exit 0 byre list
BYRE_PASSWORD_COMMAND='head -n 1 pw-full' expect_exit 0 byre list
BYRE_PASSWORD_COMMAND='exit 3' expect_exit 1 byre list
expect_says "$T/err" 'exit|status|3|command'
BYRE_PASSWORD_FILE=no-such expect_exit 1 byre list
expect_says "$T/err" 'no-such'
BYRE_KEY_FILE=no-such expect_exit 1 byre list
printf 'the full one' >pw-no-newline
expect_exit 0 byre list --password-file pw-no-newline
printf 'the full one\r\n' >pw-crlf
byre list --password-file pw-crlf >"$T/out" 2>&1 || expect_says "$T/out" 'wrong|passphrase'
: >pw-empty
expect_exit 2 byre key add --new-password-file pw-empty --password-file pw-full
# A key file's bytes are no passphrase, and the other way round.
python3 -c 'print("k" * 40, end="")' >text-key
expect_exit 0 as key add --password-file pw-full --new-password-file text-key
expect_exit 12 byre list --key-file text-key
export BYRE_PASSWORD=$first

# Roles: append and backup back up and list, and read no disk.
for role in append backup; do
    expect_exit 0 as list --password-file "pw-$role" --json
    expect_exit 0 as backup --password-file "pw-$role" --json --name "by-$role" disk.qcow2
    expect_json 'd["chunks_new"] == 0'
    expect_exit 0 as show latest --password-file "pw-$role"
    expect_exit 12 as restore latest --password-file "pw-$role" --to "by-$role"
    expect_says "$T/err" 'full'
    expect_missing "by-$role"
    expect_exit 12 as restore latest --password-file "pw-$role" --format raw --to -
    expect_silent "$T/out"
    expect_exit 0 as check --password-file "pw-$role"
    expect_exit 0 as check --password-file "pw-$role" --read-data --json
    expect_json 'd["errors"] == 0'
    expect_exit 12 as key add --password-file "pw-$role" --new-password-file pw-wrong
    expect_says "$T/err" 'full'
    expect_exit 12 as key remove "$(key_id full passphrase 0)" --password-file "pw-$role"
    expect_exit 0 byre restore "by-$role" --to "by-$role"
    same_layer disk.qcow2 "by-$role/disk.qcow2"
done
expect_exit 2 byre key add --role nonsense --new-password-file pw-wrong
# With a fresh cache and state, on another machine, they do too.
expect_exit 0 as backup --password-file pw-append --cache-dir cache2 --state-dir state2 --name other --json disk.qcow2
expect_json 'd["chunks_new"] == 0'

# The recovery code opens, also where a passphrase is asked for, also as people type it.
expect_exit 0 as restore first --password-file code --to by-code
same_layer disk.qcow2 by-code/disk.qcow2
BYRE_PASSWORD=$(cat code) expect_exit 0 byre list
BYRE_PASSWORD=$(tr -d - <code | tr '[:upper:]' '[:lower:]') expect_exit 0 byre list
BYRE_PASSWORD=$(tr - ' ' <code) expect_exit 0 byre list

# key list shows all of them, and marks one's own.
expect_exit 0 byre key list --json
expect_json 'sorted(k["role"] for k in d) == ["append", "backup"] + 5 * ["full"]'
expect_json 'sorted(k["kind"] for k in d) == ["key-file"] + 5 * ["passphrase"] + ["recovery-code"]'
expect_json '[k["own"] for k in d].count(True) == 1'
expect_exit 0 byre key list
expect_equal "$(wc -l <"$T/out")" 8 "lines of key list"

# key passwd changes one's own secret only.
echo 'a new one' >pw-new
expect_exit 0 byre key passwd --new-password-file pw-new
expect_exit 12 byre list
export BYRE_PASSWORD='a new one'
expect_exit 0 byre list
expect_exit 0 as list --password-file pw-full
expect_exit 0 as key passwd --password-file pw-append --new-password-file pw-no-newline
expect_exit 0 as list --password-file pw-full
printf 'the append one, changed\n' >pw-append2
byre list --password-file pw-append >"$T/out" 2>"$T/err" && fail "an old passphrase still opens"

# key remove: not by a short or unknown id, not the one in use, and then it opens no more.
expect_exit 1 byre key remove 0123456789abcdef
expect_exit 2 byre key remove abc
expect_exit 2 byre key remove
keyfile=$(key_id full key-file 0)
expect_exit 0 as list --key-file keyfile
expect_exit 0 byre key remove "${keyfile:0:12}"
expect_exit 12 as list --key-file keyfile
expect_exit 0 byre check --read-data

# The last key that can do everything is not removed.
before=$(byre key list --json)
while read -r id; do
    byre key remove "$id" >"$T/out" 2>"$T/err" || true
done < <(byre key list --json | python3 -c 'import json, sys; [print(k["id"]) for k in json.load(sys.stdin) if k["role"] == "full" and not k["own"]]')
own=$(byre key list --json | python3 -c 'import json, sys; print(*[k["id"] for k in json.load(sys.stdin) if k["own"]])')
byre key remove "$own" >"$T/out" 2>"$T/err" && fail "the last full key was removed: $before"
expect_exit 0 byre restore first --to still
same_layer disk.qcow2 still/disk.qcow2
expect_exit 0 byre check --read-data
