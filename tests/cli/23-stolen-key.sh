#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Keys as the years go by: a host's key is stolen, a passphrase changed, a machine lost, and slots
# are planted by whoever keeps the repository.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3
umask 077

random_file data 131072 23
random_file more 65536 24
qemu-img create -q -f qcow2 disk.qcow2 4M
guest_write disk.qcow2 data 1M
cp disk.qcow2 disk.before
expect_exit 0 byre init --reserve 0 --recovery-code-file code
for key in host new-host admin; do head -c 64 /dev/urandom >$key.key; done
expect_exit 0 byre key add --role backup --new-key-file host.key --json
host=$(json 'd["key"]')
expect_exit 0 byre key add --new-key-file admin.key
as() { env -u BYRE_PASSWORD "$BYRE" "$@" </dev/null; }
expect_exit 0 as --key-file host.key backup --name before disk.qcow2

# The host is broken into: the thief has its key, its cache, and all of the repository.
cp -a repo stolen
cp -a cache stolen-cache
expect_exit 0 as --key-file admin.key key remove "$host" --new-epoch
expect_exit 0 as --key-file admin.key key add --role backup --new-key-file new-host.key
for command in list 'restore before --to never' check 'backup disk.qcow2' 'key list' prune; do
    # shellcheck disable=SC2086
    expect_exit 12 as --key-file host.key $command
    expect_says "$T/err" 'key'
done
guest_write disk.qcow2 more 2M
expect_exit 0 as --key-file new-host.key backup --name secret-plans disk.qcow2
# What he has lists what was there, but reads no disk of it either.
thief() { as --key-file host.key --cache-dir stolen-cache --state-dir thief "$@"; }
expect_exit 0 thief --repo stolen list
expect_exit 12 thief --repo stolen restore before --to never
# What is new is closed to him, however he mixes the two.
cp -a repo mixed
cp -n stolen/keys/* mixed/keys/
cp -a stolen mixed2
cp -n -r repo/log repo/packs repo/segments mixed2/
for mix in mixed mixed2; do
    expect_exit 12 thief --repo $mix list
    expect_exit 12 thief --repo $mix show secret-plans
    ! grep -rqF secret-plans "$T/out" "$T/err" thief || fail "he learns a name"
done
expect_missing never
expect_exit 0 as --key-file admin.key check --read-data

# A passphrase is changed.
old=$BYRE_PASSWORD
echo 'a better one' >pw
expect_exit 0 byre key passwd --new-password-file pw
expect_silent "$T/err"
expect_exit 12 byre list
export BYRE_PASSWORD='a better one'
expect_exit 0 byre list
# Its slot is the same key, though: whoever kept the slot of before opens it as before.
cp -a repo kept
cp stolen/keys/* kept/keys/
BYRE_PASSWORD=$old expect_exit 0 byre list --repo kept
unset BYRE_PASSWORD

# Everything is lost but the repository and the code on paper.
mkdir empty
rescue() { env -i PATH="$PATH" HOME="$T/empty" "$BYRE" --repo "$T/repo" --cache-dir empty/cache --state-dir empty/state "$@" </dev/null; }
typed() { # typed SED-SCRIPT: the code as people type it
    sed "$1" code >empty/code
    expect_exit 0 rescue list --password-file empty/code --json
    expect_json '[a["name"] for a in d] == ["before", "secret-plans"]'
}
typed 's/.*/\L&/'
typed 's/-/ /g; s/^/  /'
typed 's/-//g; y/01/OI/'
typed 'y/01/oL/; s/-/--/'
expect_exit 0 rescue restore before --password-file code --to back --verify
same_layer disk.before back/disk.qcow2
expect_exit 0 rescue restore secret-plans --password-file code --to back2 --verify
same_layer disk.qcow2 back2/disk.qcow2
expect_exit 0 rescue check --read-data --password-file code
# One digit wrong is another secret.
sed 'y/23/32/; y/4567/7654/' code >typo
expect_exit 12 rescue list --password-file typo

# A new passphrase beside it, or in its place.
echo 'found again' >pw-new
expect_exit 0 rescue key add --password-file code --new-password-file pw-new
expect_exit 0 rescue list --password-file pw-new
expect_exit 0 rescue list --password-file code
expect_exit 0 rescue key passwd --password-file pw-new --new-password-file pw
expect_exit 12 rescue list --password-file pw-new
echo 'instead of the code' >pw-code
expect_exit 0 rescue key passwd --password-file code --new-password-file pw-code
expect_says "$T/err" 'warning.*recovery code.*opens nothing any more'
expect_exit 12 rescue list --password-file code
expect_exit 0 rescue restore before --password-file pw-code --to back3
same_layer disk.before back3/disk.qcow2
expect_exit 0 as --key-file admin.key check

# Slots that ask for absurd work are put beside the others, well signed: by Argon2's limits, and
# within them but for minutes. None of them keeps byre from the slot that fits, nor takes memory.
/usr/bin/python3 -c 'import nacl.signing' 2>/dev/null || skip "no python3-nacl for the rest"
plant() { # plant PASSES MEMORY
    /usr/bin/python3 -c '
import os, sys, nacl.signing
key = nacl.signing.SigningKey.generate()
slot = os.urandom(16)
head = b"byreslot" + bytes([1, 0, 1, 0]) + slot + b"".join(int(n).to_bytes(4, "little") for n in sys.argv[1:3])
head += os.urandom(16 + 32) + bytes(key.verify_key) + os.urandom(32 + 236)
open("repo/keys/" + slot.hex(), "wb").write(head + key.sign(b"byre slot".ljust(16, b"\0") + head).signature)' "$@"
}
for limits in '4294967295 65536' '3 4294967295' '4294967295 4294967295' '0 65536' '3 0' '65 8' '1 1048577'; do
    # shellcheck disable=SC2086
    plant $limits
done
# Of such alone a wrong secret says what is wrong with them, and at once.
expect_exit 4 timeout 60 "$BYRE" list --password-file typo
expect_says "$T/err" 'keys/.*(passes|KiB).*refused'
for _ in {1..10}; do plant 64 1048576; plant 64 262144; done
limited() { # address space: what a passphrase takes anyway, and then some
    if sanitized; then "$@"; else (ulimit -v 600000 && exec "$@"); fi
}
for secret in '--key-file admin.key' '--password-file pw' '--password-file pw-code'; do
    # shellcheck disable=SC2086
    expect_exit 0 limited timeout 60 "$BYRE" list $secret --threads 1
done
expect_exit 0 as --key-file admin.key check --read-data
