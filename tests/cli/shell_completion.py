#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a shell offers for the end of a command line, one candidate a line, sorted and unquoted.

usage: shell_completion.py bash|zsh|fish SCRATCH LINE
"""
import os
import pathlib
import pty
import shlex
import subprocess
import sys
import tempfile

shell, scratch, line = sys.argv[1:]

# bash as readline calls it, but for what readline does itself: it completes files where it is told
# to, and puts what is offered after what COMP_WORDBREAKS takes apart.
BASH = r"""
. <(byre completion bash)
compopt() { mode=$2; }
line=$1
COMP_LINE=$line COMP_POINT=${#line}
mapfile -t COMP_WORDS < <(python3 -c '
import re, sys
words = re.findall(r"[=:]|[^\s=:]+", sys.argv[1])
if sys.argv[1][-1] == " ": words.append("")
print("\n".join(words))' "$line")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
last=${COMP_WORDS[COMP_CWORD]}
_byre byre "$last" "${COMP_WORDS[COMP_CWORD - 1]}"
case $last in = | :) last= ;; esac
case ${mode:-} in
default) mapfile -t COMPREPLY < <(compgen -f -- "$last") ;;
dirnames) mapfile -t COMPREPLY < <(compgen -d -- "$last") ;;
esac
for word in "${COMPREPLY[@]}"; do
    if [ -z "${mode:-}" ]; then eval "word=$word"; fi
    before=${line%"$last"}
    printf '%s\n' "${before##* }$word"
done
"""

# zsh, interactive as it has to be, lists what completes its first line and ends. What it offers
# passes through compadd, but for calls that only ask.
ZSH = r"""
PS1= LISTMAX=0
autoload -Uz compinit
compinit -u -D
. <(byre completion zsh)
compadd() {
    local -a hits
    if (( ! ${@[(I)-[OAD]]} )); then
        builtin compadd -O hits "$@"
        (( ${@[(I)-*Q*]} )) && hits=("${(@Q)hits}")
        for hit in $hits; do print -r -- "$IPREFIX$hit" >>$ZDOTDIR/offered; done
    fi
    builtin compadd "$@"
}
zle-line-init() {
    BUFFER=$BYRE_LINE CURSOR=$#BYRE_LINE
    zle list-choices
    exit
}
zle -N zle-line-init
"""


def bash():
    return subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", BASH, "bash", line],
        check=True, capture_output=True, text=True).stdout.splitlines()


def fish():
    home = {**os.environ, "XDG_CONFIG_HOME": scratch + "/fish", "XDG_DATA_HOME": scratch + "/fish"}
    script = "byre completion fish | source; complete -C " + shlex.quote(line)
    found = subprocess.run(
        ["fish", "--no-config", "-c", script],
        check=True, capture_output=True, text=True, env=home).stdout.splitlines()
    # What complete -C prints is what would be typed, quoted as fish does it.
    return [word.split("\t")[0] for word in found]


def zsh():
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        pathlib.Path(folder, ".zshrc").write_text(ZSH)
        pathlib.Path(folder, "offered").touch()
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(ZDOTDIR=folder, BYRE_LINE=line, TERM="vt100")
            os.execlp("zsh", "zsh", "-d", "-i")
        try:
            while os.read(terminal, 4096):
                pass
        except OSError:  # how Linux says that the other side is closed
            pass
        os.waitpid(pid, 0)
        return pathlib.Path(folder, "offered").read_text().splitlines()


def mark_folders(words):
    """A shell has a slash after them at the latest when they are typed."""
    return [w + "/" if not w.endswith("/") and os.path.isdir(w) else w for w in words]


for word in sorted(set(mark_folders({"bash": bash, "fish": fish, "zsh": zsh}[shell]()))):
    print(word)
