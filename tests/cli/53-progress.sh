#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Progress and prompts on a terminal, which tmux is here; SIGUSR1; and nothing of it in pipes.
# What is typed into the terminal is for the shell there.
# shellcheck disable=SC2016
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires python3 tmux

terminal() { env -u TMUX tmux -S "$T/tmux" -f /dev/null "$@"; }

# screen: what is to be seen, without what is empty.
screen() { terminal capture-pane -p | sed '/^$/d'; }

# until_true WHAT COMMAND...: tries for a minute.
until_true() {
    local what=$1 try
    shift
    for ((try = 0; try < 600; try++)); do
        if "$@"; then return; fi
        timeout 0.1 tail -f /dev/null || true
    done
    screen >&2 || true
    fail "in vain waited for $what"
}

shows() { screen | grep -qE -- "$1"; }

# one_line COLUMNS: what is drawn takes one line, which is no wider, and nothing was left behind.
one_line() {
    local lines
    lines=$(screen)
    [ "$(grep -cE '[0-9]%|MiB|ETA' <<<"$lines")" = 1 ] &&
        [ "$(grep -E '[0-9]%' <<<"$lines" | wc -L)" -lt "$1" ]
}

# says FILE PATTERN
says() { grep -qE -- "$2" "$1"; }

no_control_characters() {
    ! LC_ALL=C grep -q $'[\001-\010\013-\037\177]' "$1" || fail "$1 has control characters: $(cat -v "$1")"
}

random_file disk.raw 8388608 53
secret=$BYRE_PASSWORD
unset BYRE_PASSWORD
at_end "env -u TMUX tmux -S '$T/tmux' kill-server"
terminal new-session -d -x 80 -y 24 env PS1='$ ' bash --norc --noprofile
type_in() { terminal send-keys "$@"; }
# run COMMAND: on an empty screen; tells its exit code when it ends.
run() {
    type_in 'clear' Enter
    until_true "an empty screen" is_empty
    type_in "$1; echo \"code=\$?\"" Enter
}
is_empty() { [ "$(screen)" = '$' ]; }

# ---- prompts ----

run '"$BYRE" init --reserve 0'
until_true "the question" shows '^new passphrase for .*:'
type_in -l "$secret"
type_in Enter
until_true "the second question" shows 'once more:'
type_in -l "$secret"
type_in Enter
until_true "the end of init" shows '^code=0$'
! shows "${secret%% *}" || fail "the terminal shows what was typed"

run '"$BYRE" list; stty -a | grep -ow -- "-*echo"'
until_true "the question" shows 'passphrase.*:'
type_in -l "$secret"
type_in Enter
until_true "the end of list" shows '^echo$'

# Ctrl-C at the question: the echo is on again.
run '"$BYRE" list; echo "list=$?"; stty -a | grep -ow -- "-*echo"'
until_true "the question" shows 'passphrase.*:'
type_in -l "half of a"
type_in C-c
until_true "the end" shows '^list=130$'
until_true "the terminal's settings" shows '^echo$'

# ---- the bar ----

export BYRE_PASSWORD=$secret
printf '%s\n' "$secret" >password
chmod 600 password
type_in 'export BYRE_PASSWORD_FILE=$PWD/password' Enter
expect_exit 0 byre backup --name disk disk.raw

# Nobody reads on, so that the restore waits, as for a slow disk: the bar is redrawn nevertheless.
mkfifo pipe
run '"$BYRE" restore disk --format raw --to - >pipe'
exec {from}<pipe
until_true "progress" shows '^ +[0-9]+% \[[#-]+\] .*ETA'
until_true "one line" one_line 80
for columns in 41 20 7 120 60; do
    terminal resize-window -x $columns
    until_true "one line of less than $columns columns" one_line $columns
done
until_true "a line that is wider again" shows 'B/s  ETA'
until_true "one line" one_line 60
type_in C-c
until_true "the end" shows '^code=130$'
exec {from}<&-
! shows '%' || fail "something of the bar is left: $(screen)"

# Without an able terminal there is none.
run 'TERM=dumb "$BYRE" check'
until_true "the end of check" shows '^code=0$'
! shows '%' || fail "a bar on a dumb terminal"

# ---- pipes ----

expect_exit 0 byre backup --full-read --name disk disk.raw
expect_silent err
BYRE_PROGRESS_FPS=60 expect_exit 0 byre backup --progress --full-read --name disk disk.raw
expect_says err '^byre: [0-9]+%, .* of 8 MiB'
no_control_characters err

# ---- SIGUSR1 ----

# told OPTION PATTERN: a restore with OPTION that waits says how far it is, and goes on.
told() {
    rm -f err
    "$BYRE" "$1" restore disk --format raw --to - >pipe 2>err &
    local pid=$! code=0
    exec {from}<pipe
    head -c 1000 <&"$from" >/dev/null
    kill -USR1 $pid
    until_true "an answer" says err "$2"
    kill -USR1 $pid
    cat <&"$from" >rest
    exec {from}<&-
    wait $pid || code=$?
    expect_equal "$code" 0 "exit code of a restore that was asked"
    expect_equal "$(stat -c %s rest)" $((8388608 - 1000)) "bytes after SIGUSR1"
    no_control_characters err
}
told --quiet '^byre: [0-9]+%, .* of 8 MiB, '
told --no-progress '^byre: [0-9]+%, .* of 8 MiB, '
told --json '^\{"message_type":"status","percent_done":'

# A byre that has nothing to tell is not killed by it.
mkfifo late
"$BYRE" --password-command "cat '$T/late'" list --json >out 2>err &
pid=$!
exec {to}>late
kill -USR1 $pid
printf '%s\n' "$secret" >&"$to"
exec {to}>&-
code=0
wait $pid || code=$?
expect_equal "$code" 0 "exit code of a list that was asked"
expect_json 'len(d) == 3' out
