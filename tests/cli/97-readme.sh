#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Every command of README.md runs as it is written, on machines made for that: roots of their own, with
# this machine's /usr, which cannot be written to there, a copy of its /etc, and nothing else of it.
#
# What README cannot know, and what is put in its place:
#   27a0c31f  the oldest archive there is; the first is tagged golden, because here all archives are of
#             one day, and a rule for days would forget it
#   0752d254  the key that host.key opens
#   sudo      which may not be there: it runs what it is given
# Commands in the source tree (scripts/..., cmake) install packages and build, which takes a minute:
# they run with BYRE_README_BUILD=1, as scripts/test.sh does it; without, only their grammar is looked
# at, and the program under test is the one that is installed.
build=${BYRE_README_BUILD:-} # lib.sh unsets what begins with BYRE_
source=$(realpath "$(dirname "$0")/../..")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io qemu-system-x86_64 python3 unshare
requires_root
unshare -m true 2>/dev/null || skip "mounts of our own are not allowed here"
sanitized && skip "the program that README installs is a plain one"

# Disks as README names them: web-root.qcow2 over a base, which asks for a login when it is booted (see
# 84-boot-test.sh for the code); web-data.qcow2; old copies of a cp script.
mkdir disks
cd disks
python3 -c '
code = bytes.fromhex("fc31c08ed8be227cac84c0741288c4bafd03eca82074fbbaf80388e0eeebe9f4ebfd")
open("sector", "wb").write((code + b"web login: \0").ljust(510, b"\0") + b"\x55\xaa")'
random_file data 1048576 97
qemu-img create -q -f qcow2 base.qcow2 32M
guest_write base.qcow2 sector 0
guest_write base.qcow2 data 4M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 web-root.qcow2
guest_write web-root.qcow2 data 20M
qemu-img create -q -f qcow2 web-data.qcow2 16M
guest_write web-data.qcow2 data 1M
echo '<domain/>' >web.xml
for day in 2026-09-01 2026-09-02; do
    mkdir -p "$T/old/$day"
    cp base.qcow2 "$T/old/$day/web-root.qcow2"
    io "$T/old/$day/web-root.qcow2" "write -P ${day: -1} 8M 1M"
done
rm data sector
cd ..

# machine NAME: an empty one, below ${T}/NAME. Its steps are ${T}/NAME/steps.
machine() {
    local root=$T/$1
    mkdir -p "$root"/{usr,etc,proc,dev,root,srv/disks,mnt/usb,var/tmp,var/lib/dpkg,var/lib/prometheus/node-exporter,run,tmp,backup,local/bin,local/sbin}
    tar -C "$source" --exclude=./build --exclude=./.git -cf - . | { mkdir "$root/root/byre" && tar -C "$root/root/byre" -xf -; }
    # shellcheck disable=SC2016
    printf '#!/bin/sh\nexec "$@"\n' >"$root/local/sbin/sudo"
    chmod +x "$root/local/sbin/sudo"
    if [ -z "$build" ]; then
        cp "$BYRE" "$root/local/bin/byre"
        mkdir -p "$root/local/share/byre"
        cp "$source/scripts/boot-test.sh" "$root/local/share/byre/"
    fi
}

# What runs on a machine: "step LINE EXIT COMMAND" and "syntax LINE REASON COMMANDS".
cat >runner <<'END'
set -o pipefail
cd /srv/disks
wrong() {
    echo "README.md:$1: $2" >&2
    tail -n 20 /tmp/out >&2
    exit 1
}
oldest_archive() { byre list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"][:8])'; }
append_key() {
    byre key list --json | python3 -c 'import json, sys; print([k["id"] for k in json.load(sys.stdin) if k["role"] == "append"][0])'
}
syntax() {
    bash -n -c "$3" || wrong "$1" "is no shell"
    echo "README.md:$1: not run, for $2"
}
step() {
    local got=0 input=/dev/null command=$3
    if [[ $command =~ ^(sudo )?(scripts/|cmake) ]]; then
        if [ -z "$BUILD" ]; then
            syntax "$1" "it builds" "$command"
            return
        fi
        cd /root/byre
    fi
    case $command in *27a0c31f*) command=${command//27a0c31f/$(oldest_archive)} ;; esac
    case $command in *0752d254*) command=${command//0752d254/$(append_key)} ;; esac
    case $command in *'cat > /root/recovery-code'*) input=/srv/typed ;; esac
    echo "README.md:$1: $command"
    eval "$command" <"$input" >/tmp/out 2>&1 || got=$?
    [ "$got" = "$2" ] || wrong "$1" "exit $got, not $2: $command"
    cd /srv/disks
    # A day goes by.
    if [[ $command = 'byre backup --name web --dry-run'* ]]; then
        byre tag "$(oldest_archive)" --add golden >/tmp/out 2>&1 || wrong "$1" "cannot tag"
        qemu-io -f qcow2 -c 'write -P 7 24M 1M' web-root.qcow2 >/tmp/out || wrong "$1" "cannot write"
        byre backup --name web web-root.qcow2 web-data.qcow2 >/tmp/out 2>&1 || wrong "$1" "cannot back up"
    fi
}
END

# boot NAME: runs its steps.
boot() {
    local root=$T/$1
    # shellcheck disable=SC2016
    unshare -m --propagation private bash -euc '
        root=$1
        for name in bin sbin lib lib32 lib64 libx32; do
            if [ -L "/$name" ]; then cp -P "/$name" "$root/$name"
            elif [ -d "/$name" ]; then mkdir "$root/$name"; mount -o bind,ro "/$name" "$root/$name"; fi
        done
        cp -a /etc/. "$root/etc"
        for name in usr var/lib/dpkg; do
            [ ! -d "/$name" ] || { mount --bind "/$name" "$root/$name"; mount -o remount,bind,ro "$root/$name"; }
        done
        mount --bind "$root/local" "$root/usr/local"
        mount --rbind /dev "$root/dev"
        mount --rbind /proc "$root/proc"
        exec chroot "$root" /usr/bin/env -i HOME=/root TERM=dumb BUILD="$2" \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash /steps' - "$root" "$build"
}

machine one
cp disks/* one/srv/disks/
mv old/* one/backup
{
    cat runner
    python3 "$source/tests/cli/readme.py" "$source/README.md"
    # shellcheck disable=SC2016
    echo '[ "$(byre list --json | grep -o "\"imported\"" | wc -l)" = 2 ] || wrong 0 "not every old copy was imported"'
} >one/steps
[ "$(grep -c '^step' one/steps)" -ge 40 ] || fail "hardly a command was found in README.md"
boot one || fail "README.md does not work as it is written"

# The same, lost: another machine gets a copy of the repository, and the recovery code, which somebody
# types in small letters.
machine two
cp -r one/srv/byre two/mnt/usb/byre
tr '[:upper:]' '[:lower:]' <one/root/recovery-code >two/srv/typed
{ cat runner && python3 "$source/tests/cli/readme.py" "$source/README.md" "Disaster recovery"; } >two/steps
[ "$(grep -c '^step' two/steps)" -ge 10 ] || fail "there is no disaster recovery in README.md"
# What the first has built for itself need not be built again.
[ -z "$build" ] || mv one/root/byre/build two/root/byre/build
rm -rf one/root/byre
boot two || fail "the disaster recovery of README.md does not work as it is written"
# The newest archive of the name is that of the last old copy.
same_content two/srv/disks/web/web-root.qcow2 one/backup/2026-09-02/web-root.qcow2 qcow2 qcow2
