#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What may stand on the command line, told to real shells.
here=$(realpath "$(dirname "$0")")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$here/lib.sh"
requires python3 qemu-img

# complete KIND WORD...: the candidates for the last WORD are in ${T}/words, which are of KIND.
complete() {
    local kind=$1
    shift
    expect_exit 0 byre __complete -- "$@"
    expect_equal "$(head -n 1 "$T/out")" "$kind" "the kind of candidates"
    sed 1d "$T/out" | cut -f 1 >"$T/words"
}
expect_words() {
    printf '%s\n' "$@" | sed '/^$/d' >"$T/want"
    cmp "$T/want" "$T/words" || fail "candidates: $(tr '\n' ' ' <"$T/words"), not: $*"
}

# table EXPRESSION: of ${t}, what byre help --json says; one a line.
byre help --json >table.json
table() {
    python3 -c '
import json, sys
t = json.load(open(sys.argv[1]))
def command(name): return next(c for c in t["commands"] if c["name"] == name)
def names(things): return [x["name"] for x in things]
def options(c): return ["--" + n for n in names(c["options"])]
print("\n".join(eval(sys.argv[2])))' "$T/table.json" "$1"
}
# shellcheck disable=SC2046
expect_table() { expect_words $(table "$1"); }

# Commands and options are those of the table, all of them.
complete words ''
expect_table 'names(t["commands"])'
complete words --json ''
expect_table 'names(t["commands"])'
complete words b
expect_words backup bitmap benchmark
complete words -
expect_table 'options(t)'
for command in $(table '[n for n in names(t["commands"]) if n not in ("key", "bitmap")]'); do
    complete words "$command" --
    expect_table "options(command('$command')) + options(t)"
done
complete words key ''
expect_table 'names(command("key")["commands"])'
complete words key add --n
expect_words --new-password-file --new-key-file --no-progress
complete words help ''
expect_table 'names(t["commands"])'
complete words help key p
expect_words passwd
complete words nonsense ''
expect_words ''
complete words __
expect_words ''

# Values, in each way that they may be written.
complete words restore --format ''
expect_words qcow2 raw vmdk vpc vhdx vdi
complete words restore --format=r
expect_words --format=raw
complete words key add --role ''
expect_words full backup append
complete words completion ''
expect_words bash zsh fish
complete words backup --compression ''
expect_words auto none
complete files backup ''
complete files backup --with ''
complete files backup --with=
complete files restore latest --to ''
complete directories -r ''
complete directories list -qr ''
complete directories -vr x list --repo ''
complete words list --last ''
expect_words ''
# The name of an option may be another's value, and -- ends them.
complete words backup --name --tag --comp
expect_words --compression
complete files backup -- --comp

# Archives, names and tags; where there is no repository, nothing.
complete words show ''
expect_words ''
new_repository
complete words show ''
expect_words ''
secret=$BYRE_PASSWORD
fast_key
qemu-img create -q -f qcow2 disk.qcow2 1M
# shellcheck disable=SC2016
for name in web 'a b;$(x)`' web; do
    expect_exit 0 byre backup --name "$name" --tag "of-${name%% *}" disk.qcow2
done
mapfile -t ids < <(byre list --json |
    python3 -c 'import json, sys; print("\n".join(a["id"][:8] for a in json.load(sys.stdin)[::-1]))')
complete words show ''
# shellcheck disable=SC2016
expect_words latest "${ids[@]}" web 'a b;$(x)`'
complete words diff latest w
expect_words web
complete words diff latest web ''
expect_table 'options(command("diff")) + options(t)'
complete words forget web web w
expect_words web
complete words show name:w
expect_words name:web
complete words list --name w
expect_words web
complete words tag latest --remove of-
sort -u -o "$T/words" "$T/words"
expect_words of-a of-web
complete words copy --from repo w
expect_words ''
# Where the repository is may be said on the line itself.
BYRE_REPOSITORY='' complete words --repo repo show l
expect_words latest
BYRE_REPOSITORY='' complete words show l
expect_words ''
# It neither asks, nor runs a command, nor waits: a FIFO would keep it waiting.
unset BYRE_KEY_FILE
mkfifo fifo
complete words show ''
expect_words ''
complete words --password-command "touch $T/was-run; echo '$secret'" show ''
expect_words ''
expect_missing was-run
complete words --password-file fifo show ''
expect_words ''
(umask 077 && echo "$secret" >pass)
complete words --password-file pass show w
expect_words web
BYRE_PASSWORD=$secret complete words show w
expect_words web
export BYRE_KEY_FILE=$T/fast-key

# Jobs.
cat >byre.conf <<END
[job web]
images = $T/disk.qcow2
[job database]
images = $T/disk.qcow2
END
complete words --config byre.conf run ''
expect_words web database
complete words --config no-such run ''
expect_words ''

# The scripts are those that are installed.
for shell in bash zsh fish; do
    expect_exit 0 byre completion "$shell"
    cmp "$T/out" "$here/../../scripts/completions/byre.$shell"
done
expect_exit 2 byre completion csh
expect_exit 2 byre completion

# Real shells. byre is the program under test.
mkdir bin 'my files'
ln -s "$BYRE" bin/byre
export PATH=$T/bin:$PATH
touch 'my files/disk one.qcow2'
# of SHELL LINE: what SHELL offers at the end of LINE, in ${T}/words, sorted.
of() { python3 "$here/shell_completion.py" "$1" "$T" "$2" >"$T/words" || fail "$1: $2"; }
for shell in bash zsh fish; do
    if ! command -v "$shell" >/dev/null; then
        echo "$shell is not installed: its completion is not looked at"
        continue
    fi
    of "$shell" 'byre b'
    expect_words backup benchmark bitmap
    of "$shell" 'byre key '
    expect_words add list passwd remove
    of "$shell" 'byre restore latest --f'
    expect_words --flatten --force --format
    of "$shell" 'byre restore --format '
    expect_words qcow2 raw vdi vhdx vmdk vpc
    of "$shell" 'byre restore --format='
    expect_words --format={qcow2,raw,vdi,vhdx,vmdk,vpc}
    of "$shell" 'byre show name:'
    # shellcheck disable=SC2016
    expect_words 'name:a b;$(x)`' name:web
    of "$shell" 'byre --config=byre.conf run '
    expect_words database web
    of "$shell" 'byre backup my'
    expect_words 'my files/'
    of "$shell" 'byre -r bi'
    expect_words bin/
    of "$shell" 'byre list --last '
    expect_words ''
done
