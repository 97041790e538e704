#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Where the configuration is looked for, who may have written it, what comes before it; and how fast
# a repository is written to.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires python3

new_repository
fast_key
cat >byre.conf <<END
[repository local]
path = $T/repo
key-file = $T/fast-key
state-dir = $T/own-state
[job a]
repository = local
check = yes
END
unset BYRE_KEY_FILE BYRE_REPOSITORY BYRE_STATE_DIR

# The option, the variable, then the files of the machine and of the user.
if [ ! -e /etc/byre/byre.conf ]; then
    expect_exit 2 byre run a
    expect_says "$T/err" 'there is no configuration.*--config'
    mkdir -p "$HOME/.config/byre" "$T/xdg/byre"
    cp byre.conf "$HOME/.config/byre"
    expect_exit 0 byre run a
    export XDG_CONFIG_HOME=$T/xdg
    expect_exit 2 byre run a
    mv "$HOME/.config/byre/byre.conf" "$T/xdg/byre"
    expect_exit 0 byre run a
fi
BYRE_CONFIG=$T/byre.conf expect_exit 0 byre run a
BYRE_CONFIG=$T/none expect_exit 2 byre run a
expect_says "$T/err" 'none: there is no such configuration'
BYRE_CONFIG=$T/none expect_exit 0 byre run --config byre.conf a
export BYRE_CONFIG=$T/byre.conf
[ -e own-state/jobs/a ] || fail "the lock is not in the state folder of the configuration"

# A job runs commands: whoever may write them must be root, or this user.
chmod 666 byre.conf
expect_exit 2 byre run a
expect_says "$T/err" 'byre.conf: everybody on this machine can write to it'
chmod 600 byre.conf
if [ "$(id -u)" = 0 ]; then
    chown 65534 byre.conf
    expect_exit 2 byre run a
    expect_says "$T/err" 'byre.conf: belongs to user 65534'
    chown 0 byre.conf
fi

# An error in any place of it, and nothing is done.
printf '[job b]\nrepository = local\nchek = yes\n' >>byre.conf
rm -r own-state
expect_exit 2 byre run a
expect_says "$T/err" '^byre: /.*/byre\.conf:10: \[job b\] unknown key "chek" \(did you mean check\?\)$'
expect_missing own-state
expect_exit 2 byre --json run a
expect_json "d['code'] == 2 and 'byre.conf:10:' in d['message']" "$T/err"
sed -i '/job b/,$d' byre.conf

# Options win over the configuration; it wins over the environment, in which a repository that was
# meant for something else may be left.
BYRE_REPOSITORY=$T/none expect_exit 0 byre run a
expect_exit 10 byre -r "$T/none" run a
random_file wrong-key 64 3
expect_exit 12 byre run a --key-file wrong-key
BYRE_KEY_FILE=$T/wrong-key expect_exit 0 byre run a
expect_exit 2 byre run
expect_exit 2 byre run a --rate-limit fast

# What was written in a second passes at once, the rest at the rate.
random_file data $((5 << 20)) 1
export BYRE_REPOSITORY=$T/repo BYRE_KEY_FILE=$T/fast-key
begin=$(date +%s%N)
expect_exit 0 byre backup --rate-limit '2 MiB/s' --json data
took=$((($(date +%s%N) - begin) / 1000000))
expect_json "d['bytes_stored'] > 5 << 20"
[ $took -ge 1000 ] || fail "5 MiB at 2 MiB/s took $took ms"
expect_exit 2 byre backup --rate-limit 0 data
expect_says "$T/err" 'rate-limit: not a rate'
