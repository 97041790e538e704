#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Repositories of earlier versions are read, to the byte, and gone on with. tests/data/make-golden.sh has made them.
data=$(realpath "$(dirname "$0")/../data")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091 source=tests/data/sums.sh
. "$data/sums.sh"
requires python3 tar gzip

# same_list WANTED: the list in ${T}/out says of the same archives what WANTED says; it may say more.
same_list() {
    python3 -c '
import json, sys
wanted, got = (json.load(open(name)) for name in sys.argv[1:])
sys.exit([{k: g.get(k) for k in w} for w, g in zip(wanted, got)] != wanted or len(got) != len(wanted))' "$1" "$T/out"
}

unset BYRE_PASSWORD
found=0
for golden in "$data"/golden-*/; do
    found=$((found + 1))
    rm -rf repo state cache secrets
    tar -xzf "$golden/repository.tar.gz"
    (umask 077 && mkdir secrets && cp "$golden"/*.key "$golden"/passphrase "$golden"/recovery-code secrets)

    # Whatever opens it.
    for secret in 'key-file secrets/full.key' 'key-file secrets/backup.key' 'key-file secrets/append.key' \
        'password-file secrets/passphrase' 'password-file secrets/recovery-code'; do
        # shellcheck disable=SC2086
        expect_exit 0 byre --$secret list --json
        same_list "$golden/expected-list.json" || fail "$golden: --$secret lists other archives"
    done
    expect_exit 12 byre --key-file secrets/removed.key list
    export BYRE_KEY_FILE=$T/secrets/full.key

    # All that it has.
    expect_exit 0 byre check --read-data
    expect_says "$T/out" 'no errors'
    sums >got
    diff "$golden/expected.sha256" got || fail "$golden: archives are other than they were"

    # Others go on where it ended; what was there stays.
    random_file fresh 300000 95
    expect_exit 0 byre --key-file secrets/append.key backup --name fresh fresh
    expect_exit 0 byre --key-file secrets/backup.key tag name:fresh --add new
    expect_exit 0 byre --key-file secrets/backup.key forget name:last name:kinds
    expect_exit 0 byre --key-file secrets/backup.key prune --no-grace --max-unused 0
    expect_exit 0 byre check --read-data
    expect_exit 0 byre restore fresh --format raw --to fresh.back
    cmp fresh fresh.back
    expect_exit 0 byre forget name:fresh --prune
    sums >got
    grep -v ' \(last\|kinds\)-' "$golden/expected.sha256" | diff - got || fail "$golden: archives have changed"
    nothing_left
    unset BYRE_KEY_FILE
    rm fresh.back
done
[ "$found" -gt 0 ] || fail "there are no golden repositories"
