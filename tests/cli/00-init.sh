#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# init makes a repository, gives its recovery code once, and harms nothing that is there.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires python3

expect_exit 0 byre init --reserve 0
expect_says "$T/out" 'recovery code: ([0-9A-Z]{4}-){3,}'
expect_exit 0 byre list --json
expect_json 'd == []'
expect_exit 0 byre check --read-data
nothing_left

# A second one, here or where other files are, is refused and changes nothing.
find repo -type f -exec sha256sum {} + | sort >before
expect_exit 1 byre init --reserve 0
find repo -type f -exec sha256sum {} + | sort >after
cmp before after || fail "a second init changed the repository"
mkdir full
echo mine >full/file
expect_exit 1 byre init --reserve 0 --repo full
expect_equal "$(ls -A full)" file "what is in a foreign folder"
echo file >plain
expect_exit 1 byre init --reserve 0 --repo plain
expect_equal "$(cat plain)" file "the file in the way"

# An empty folder will do, and its parents are not invented.
mkdir empty
expect_exit 0 byre init --reserve 0 --repo empty
expect_exit 1 byre init --reserve 0 --repo no/such/parent
expect_missing no

# JSON: one document that has the code, unless a file has it, which others cannot read.
expect_exit 0 byre --json init --reserve 0 --repo two
expect_json 'd["message_type"] == "summary" and len(d["repository"]) == 64'
expect_json 'd["recovery_code"].count("-") >= 3'
cp out two.json
umask 022
expect_exit 0 byre init --reserve 0 --repo three --recovery-code-file code --json
expect_json '"recovery_code" not in d or d["recovery_code"] is None'
expect_equal "$(stat -c %a code)" 600 "mode of the recovery code file"
grep -qE '^([0-9A-Z]{4}-)+[0-9A-Z]{4}$' code || fail "no recovery code in its file"
expect_exit 0 byre init --reserve 0 --repo four --recovery-code-file code4
grep -qF "$(cat code4)" "$T/out" "$T/err" && fail "the code was printed too"
cp code code.before
expect_exit 1 byre init --reserve 0 --repo five --recovery-code-file code
cmp code code.before || fail "a recovery code was overwritten"
expect_missing five

# The repository is its owner's alone.
expect_equal "$(find three -perm /077 | wc -l)" 0 "files and folders of a repository that others may read"

# The reserve has the size asked for, and takes real space.
expect_exit 0 byre init --reserve 3M --repo six
expect_equal "$(find six -type f -size 6144b | wc -l)" 1 "files of 3 MiB"
[ "$(du -sk six | cut -f1)" -ge 3072 ] || fail "the reserve is a hole"
expect_exit 2 byre init --reserve nonsense --repo seven
expect_exit 2 byre init --reserve -1 --repo seven
expect_missing seven

# No secret, no repository; an empty one is none.
expect_exit 2 env -u BYRE_PASSWORD setsid "$BYRE" init --reserve 0 --repo eight </dev/null
expect_says "$T/err" 'BYRE_PASSWORD_COMMAND'
expect_missing eight
BYRE_PASSWORD='' expect_exit 2 byre init --reserve 0 --repo eight
expect_missing eight

# What makes ids is the faster function, or what is asked for.
expect_json 'd["id_hash"] in ("blake2b", "sha256")' two.json
for hash in blake2b sha256; do
    expect_exit 0 byre init --reserve 0 --repo "by-$hash" --id-hash "$hash" --json
    expect_json "d['id_hash'] == '$hash'"
done
expect_exit 0 byre init --reserve 0 --repo eleven --id-hash sha256 -v
expect_says "$T/out" 'sha256'
expect_exit 2 byre init --reserve 0 --repo twelve --id-hash md5
expect_says "$T/err" 'id-hash.*blake2b.*sha256.*md5'
expect_missing twelve

# Two that share the chunker's secret.
BYRE_FROM_PASSWORD=$BYRE_PASSWORD expect_exit 0 byre init --reserve 0 --repo nine --chunker-from repo
expect_exit 0 byre list --repo nine
BYRE_FROM_PASSWORD=wrong expect_exit 12 byre init --reserve 0 --repo ten --chunker-from repo
expect_missing ten
