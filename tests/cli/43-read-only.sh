#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A repository that may only be read is only read; one of which something may not is no riddle.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 65536 25
qemu-img create -q -f qcow2 disk.qcow2 4M
guest_write disk.qcow2 data 1M
new_repository
fast_key
expect_exit 0 byre backup --name one disk.qcow2
guest_write disk.qcow2 data 2M
expect_exit 0 byre backup --name two disk.qcow2
random_file other 65536 26
guest_write disk.qcow2 other 3M
expect_exit 0 byre backup --name forgotten disk.qcow2
expect_exit 0 byre forget forgotten
guest_write disk.qcow2 data 3M
expect_exit 0 byre backup --name two disk.qcow2
cp -a repo whole

# user COMMAND...: as somebody without rights, whatever we are.
if [ "$(id -u)" = 0 ]; then
    requires setpriv
    user() { setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "$@"; }
else
    user() { "$@"; }
fi
program=$BYRE
user test -x "$program" || { cp "$program" byre; program=$T/byre; }
chmod 755 "$T"
mkdir user
chmod 777 user
echo new >user/pw
cp fast-key user/key
chmod 600 user/pw user/key
[ "$(id -u)" != 0 ] || chown 65534 user/pw user/key
export BYRE_KEY_FILE=$T/user/key

# Everything there is to be seen of it from outside.
look() { (cd "$1" && find . -printf '%p %s %m %T@ %C@ %i\n' | sort && find . -type f -exec sha256sum {} + | sort); }

# read_only REPO COMMAND...: what reads works, what writes fails with 1 and a reason, and neither
# does anything.
read_only() {
    local repo=$1 command
    shift
    export BYRE_REPOSITORY=$T/$repo
    look "$repo" >"$T/before"
    for command in list 'show one' 'diff one two' stats 'stats one' check 'check --read-data' \
        'restore one --to user/back --verify' 'restore two --format raw --to user/raw --verify' \
        'key list' 'forget --keep-last 1 --dry-run' 'prune --dry-run' 'backup --dry-run disk.qcow2'; do
        # shellcheck disable=SC2086
        expect_exit 0 "$@" $command
        expect_silent "$T/err"
    done
    same_content disk.qcow2 user/raw qcow2 raw
    rm -rf user/back user/raw
    for command in 'backup disk.qcow2' 'forget one' 'forget --keep-last 1 --group-by host' 'forget one --prune' \
        'tag one --add x' "key add --new-password-file user/pw" "key passwd --new-password-file user/pw" 'prune --no-grace'; do
        # shellcheck disable=SC2086
        expect_exit 1 "$@" $command
        expect_says "$T/err" "$repo.*(permission denied|read-only)"
    done
    look "$repo" >"$T/after"
    cmp -s "$T/before" "$T/after" || fail "something was written: $(diff "$T/before" "$T/after" | head -n 4)"
}

export HOME=$T/user BYRE_CACHE_DIR=$T/user/cache BYRE_STATE_DIR=$T/user/state
chmod -R a+rX,a-w repo
chmod 644 disk.qcow2
if user test -w repo/log; then
    echo "nobody is kept from writing here"
else
    read_only repo user "$program"

    # denied FILE COMMAND...: where that may not be read. A name and a reason, and no wrong claim.
    denied() {
        local file=$1
        shift
        chmod 0 "repo/$file"
        rm -rf user/cache user/state user/out
        # shellcheck disable=SC2086
        expect_exit 1 user "$program" "$@"
        expect_says "$T/err" "repo/${file%%/*}.*permission denied"
        expect_equal "$(find user/out -type f 2>/dev/null)" '' "files that a failed restore left"
        cp -a --attributes-only "whole/$file" "repo/$file"
        chmod a+rX,a-w "repo/$file"
    }
    denied log list
    denied "$(cd whole && find log -type f | sort | tail -n 1)" list
    denied "$(cd whole && find log -type f | sort | sed -n 2p)" check
    denied keys list
    denied packs restore one --to user/out
    denied segments restore one --to user/out
    denied config list
    for pack in whole/packs/*; do
        chmod 0 "repo/${pack#whole/}"
    done
    expect_exit 1 user "$program" restore one --to user/out
    expect_says "$T/err" 'repo/packs/.*permission denied'
    # What a check cannot read it cannot vouch for.
    expect_exit 4 user "$program" check --read-data
    expect_says "$T/err" 'repo/packs/.*permission denied'
    chmod a+r repo/packs/*
    for slot in whole/keys/*; do
        chmod 0 "repo/${slot#whole/}"
    done
    expect_exit 1 user "$program" list
    expect_says "$T/err" 'repo/keys/.*permission denied'
    chmod a+r repo/keys/*
    expect_exit 0 user "$program" check --read-data
fi

# On a file system that is mounted read-only, even for root.
[ "$(id -u)" = 0 ] || skip "the rest needs root"
rm -rf user/cache user/state
mkdir mounted
mount --bind repo mounted 2>/dev/null || skip "no bind mounts here"
at_end "umount '$T/mounted'"
mount -o remount,bind,ro "$T/mounted"
read_only mounted "$program"
