#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Options, messages, exit codes of usage, JSON.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 65536 26
qemu-img create -q -f qcow2 disk.qcow2 4M
guest_write disk.qcow2 data 1M

expect_exit 0 byre --version
expect_says "$T/out" 'byre [0-9]+\.'
expect_exit 0 byre version
expect_says "$T/out" '[0-9]+\.[0-9]+'
expect_exit 0 byre --help
expect_says "$T/out" 'usage.*'
expect_silent "$T/err"
for command in init backup list show diff restore check key version; do
    expect_exit 0 byre "$command" --help
    expect_says "$T/out" "usage: byre $command"
    expect_exit 0 byre help "$command"
done
expect_exit 0 byre -h

# Wrong usage: 2, on stderr, with a suggestion.
expect_exit 2 byre
expect_silent "$T/out"
expect_exit 2 byre bakcup
expect_says "$T/err" 'backup'
expect_exit 2 byre rstore latest
expect_says "$T/err" 'restore'
expect_exit 2 byre list --lats 3
expect_says "$T/err" '--last'
expect_exit 2 byre restore latest --to x --flaten
expect_says "$T/err" '--flatten'
expect_exit 2 byre --jsn list
expect_says "$T/err" '--json'
expect_exit 2 byre list -x
expect_exit 2 byre list --last
expect_exit 2 byre list --last nonsense
expect_exit 2 byre list --last -1
expect_exit 2 byre list --json=yes
expect_exit 2 byre list operand
expect_exit 2 byre show
expect_exit 2 byre show a b
expect_exit 2 byre backup
expect_exit 2 byre key
expect_exit 2 byre key nonsense
expect_exit 2 byre help nonsense
expect_exit 2 byre list --key-file
expect_missing repo

# Options may be before and after the command, joined or apart, and -- ends them.
new_repository
expect_exit 2 byre list --threads 0
expect_exit 2 byre list --threads x
expect_exit 2 byre check --read-data=101
expect_exit 2 byre check --read-data=x
expect_exit 0 byre backup disk.qcow2 --name late --json
expect_exit 0 byre --json backup --name early disk.qcow2
expect_json 'd["name"] == "early"'
expect_exit 0 byre --repo repo --json list
expect_exit 0 byre list --repo=repo --json
expect_exit 0 byre -r repo list --json
expect_exit 0 byre list -rrepo --json
cp disk.qcow2 -- -odd.qcow2
expect_exit 0 byre backup --json -- -odd.qcow2
expect_json 'd["name"] == "-odd"'
# An option wins over its variable.
BYRE_REPOSITORY=nowhere expect_exit 0 byre list --repo repo
BYRE_CACHE_DIR=/proc/nowhere BYRE_STATE_DIR=/proc/nowhere expect_exit 0 byre list --cache-dir cache --state-dir state

# Quiet is silent.
expect_exit 0 byre -q backup disk.qcow2
expect_silent "$T/out"
expect_silent "$T/err"
expect_exit 0 byre restore latest --to quiet -q
expect_silent "$T/out"
expect_silent "$T/err"
expect_exit 0 byre check -q
expect_silent "$T/out"
expect_silent "$T/err"
# But not about errors.
expect_exit 1 byre -q backup no-such
[ -s "$T/err" ] || fail "an error was kept quiet"

# Results go to stdout, errors to stderr, in JSON where that was asked for.
expect_exit 1 byre backup --json no-such
expect_silent "$T/out"
json 'd["message_type"] == "error" and d["code"] == 1 and "no-such" in d["message"]' "$T/err" | grep -q true ||
    fail "an error in JSON: $(cat "$T/err")"
BYRE_PASSWORD=wrong expect_exit 12 byre list --json
expect_json 'd["message_type"] == "error" and d["code"] == 12' "$T/err"
expect_exit 10 byre list --json --repo no-such
expect_json 'd["message_type"] == "error" and d["code"] == 10' "$T/err"
expect_exit 2 byre list --json --nonsense
expect_json 'd["message_type"] == "error" and d["code"] == 2' "$T/err"
expect_exit 2 byre --nonsense list --json
expect_json 'd["message_type"] == "error" and d["code"] == 2' "$T/err"
# A name that is no UTF-8 does not break it.
bad=$'no\xff"such'
expect_exit 1 byre backup --json --name bad "$bad"
expect_json 'd["message_type"] == "error"' "$T/err"
cp disk.qcow2 $'by\xfftes.qcow2'
byre backup --json $'by\xfftes.qcow2' --name bytes >"$T/out" 2>"$T/err" && {
    expect_exit 0 byre show bytes --json
    json 'd["id"]' >/dev/null
    expect_exit 0 byre restore bytes --to bytes
    same_layer $'by\xfftes.qcow2' $'bytes/by\xfftes.qcow2'
}
# A terminal is sent no control characters of a file's name.
printf -v escape 'esc\x1b[31m.qcow2'
cp disk.qcow2 "$escape"
expect_exit 0 byre backup --name esc "$escape"
! grep -q $'\x1b' "$T/out" "$T/err" || fail "an escape sequence in messages"
expect_exit 0 byre show esc
! grep -q $'\x1b' "$T/out" "$T/err" || fail "an escape sequence in messages"

# Long commands end with one summary, each line before it is a status; nothing is progress without a terminal.
for command in 'backup --full-read disk.qcow2' 'restore latest --to json' 'check --read-data' check; do
    # shellcheck disable=SC2086
    expect_exit 0 byre --json --progress $command
    expect_json '[l["message_type"] for l in all].count("summary") == 1 and d["message_type"] == "summary"'
    expect_json 'all[:-1] == [l for l in all if l["message_type"] == "status" and 0 <= l["percent_done"] <= 1 and l["bytes_done"] <= l["bytes_total"] and "seconds_remaining" in l]'
done
expect_exit 0 byre backup disk.qcow2
expect_silent "$T/err"
expect_exit 0 byre check --json --read-data
expect_json '{"errors", "packs_checked", "bytes_checked", "damaged_archives"} <= set(d)'
expect_exit 0 byre check --read-data=50 --json
expect_exit 0 byre backup --json disk.qcow2
expect_json '{"archive", "name", "parent", "layers_total", "layers_unchanged", "bytes_allocated", "bytes_read", "bytes_metadata_read", "bytes_new", "bytes_stored", "chunks_total", "chunks_new", "bitmaps_obsolete", "top_in_use_as_base", "seconds"} <= set(d)'
expect_json 'd["bytes_allocated"] == 65536 and d["bytes_metadata_read"] > 0 and d["layers_total"] == 1'
expect_exit 0 byre restore latest --to json2 --json
expect_json 'set(d["files"][0]) >= {"path", "layer", "bytes_written"} and d["bytes_written"] == d["files"][0]["bytes_written"]'
expect_json 'len(d["files"][0]["layer"]) == 64'

# A full stdout is an error.
# shellcheck disable=SC2016
[ ! -w /dev/full ] || {
    expect_exit 1 bash -c '"$BYRE" list --json >/dev/full'
    expect_exit 1 bash -c '"$BYRE" show latest >/dev/full'
}
