#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# From nothing to a backup that qemu-img has judged: installs what is missing, builds byre, backs up
# and restores a chain of disks, and compares every layer.
# usage: quickstart.sh [--keep] [IMAGE...]
#   IMAGE...  take these (qcow2 or raw, nothing may write to them) instead of made ones; only read
#   --keep    leave the folder with the repository and the restored disks
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)

keep=false
images=()
for argument; do
    case $argument in
    --keep) keep=true ;;
    -h | --help)
        sed -n '3,7s/^# //p' "$0"
        exit 0
        ;;
    -*)
        echo "quickstart.sh: unknown option $argument (see --help)" >&2
        exit 2
        ;;
    *)
        [ -r "$argument" ] || {
            echo "quickstart.sh: $argument: no such file, or not readable" >&2
            exit 2
        }
        images+=("$(cd "$(dirname "$argument")" && pwd)/$(basename "$argument")")
        ;;
    esac
done

say() { printf '\n== %s\n' "$*"; }

# Shows a command as one would type it, and runs it.
run() {
    local shown
    printf -v shown ' %q' "$@"
    printf '$%s\n' "$shown"
    "$@"
}

fail() {
    printf '\nquickstart: FAILED: %s\n' "$*" >&2
    exit 1
}

say "1. Install what is missing, and build"
cd "$root"
run scripts/install-deps.sh
# Without the tests, which need more packages.
run cmake --preset release -DBYRE_TESTS=OFF --log-level=WARNING
run cmake --build --preset release -- --quiet
program=$root/build/release/src/cli
PATH=$program:$PATH:/usr/sbin:/sbin

work=$(mktemp -d "${TMPDIR:-/var/tmp}/byre-quickstart.XXXXXX")
clean_up() {
    local code=$?
    cd /
    if $keep; then echo "kept: $work"; else rm -rf "$work"; fi
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"

# files BYTES SKIP: about so many bytes of this system's files, as a list, the first SKIP left out.
files() {
    find /usr/lib /usr/share /usr/bin /usr/include -xdev -type f -readable -size -20M \
        ! -name '*[^A-Za-z0-9._+-]*' ! -path '*[^A-Za-z0-9._+/-]*' -printf '%s %p\n' 2>/dev/null |
        sort -k2 | awk -v limit="$1" -v skip="$2" \
        'NR > skip && sum < limit { sum += int($1 / 4096 + 1) * 4096; print $2 }'
}

# day DISK OVERLAY BASE SKIP: what a guest does in a day: files come and go in the file system on the
# raw DISK; the clusters in which it then differs from BASE make OVERLAY.
day() {
    local disk=$1 overlay=$2 base=$3 skip=$4 n=0 file
    {
        echo "mkdir /day$skip"
        while read -r file; do
            echo "write $file /day$skip/$((n += 1))"
            ((n % 5)) || echo "rm /day$skip/$((n - 2))"
        done < <(files 12000000 "$skip")
    } >commands
    debugfs -w -f commands "$disk" >debugfs.log 2>&1
    e2fsck -fn "$disk" >e2fsck.log 2>&1 || fail "could not make a disk: $(tail -n 3 e2fsck.log)"
    qemu-img create -q -f qcow2 -b "$disk" -F raw "$overlay"
    qemu-img rebase -f qcow2 -b "$base" -F qcow2 "$overlay"
}

if ((${#images[@]} == 0)); then
    say "2. Make disks: a base with a file system of real files, and two overlays"
    mkdir disks
    files 320000000 0 >list
    mkdir tree
    tar -cf - -T list 2>/dev/null | tar -xf - -C tree
    echo "base.qcow2: ext4 with $(wc -l <list) files of this system, $(du -sm tree | cut -f1) MiB"
    mke2fs -q -t ext4 -d tree disk.raw 700M
    rm -rf tree
    qemu-img convert -q -O qcow2 disk.raw disks/base.qcow2
    (
        cd disks
        day ../disk.raw monday.qcow2 base.qcow2 2000
        day ../disk.raw tuesday.qcow2 monday.qcow2 4000
    )
    rm -f disk.raw disks/commands disks/*.log
    images=(disks/tuesday.qcow2)
    name=demo
    echo "monday.qcow2 and tuesday.qcow2: what the files added and removed on a day changed"
    ls -sh disks
else
    name=$(basename "${images[0]}")
    name=${name%.*}
    name=${name//[:\/]/_}
fi
same_layers() { "$root/scripts/same-layers.py" restored "$@"; }

# What only reads must leave no trace on the sources.
stamp() { stat -L -c '%n %s %y' -- "${images[@]}" && if [ "$name" = demo ]; then sha256sum disks/*; fi; }
before=$(stamp)

say "3. Back up"
echo "\$ export BYRE_REPOSITORY=$work/repository BYRE_PASSWORD_FILE=$work/passphrase"
unset BYRE_PASSWORD BYRE_PASSWORD_COMMAND BYRE_KEY_FILE
export BYRE_REPOSITORY=$work/repository BYRE_PASSWORD_FILE=$work/passphrase
export BYRE_CACHE_DIR=$work/cache BYRE_STATE_DIR=$work/state
(umask 077 && head -c 18 /dev/urandom | base64 >passphrase)
run byre init
run byre backup --name "$name" "${images[@]}"

say "4. Once more: nothing has changed, so no chunk is stored again"
run byre backup --name "$name" "${images[@]}" 2>&1 | tee second
grep -q ' 0 B new' second || fail "the second backup stored data again"

say "5. Look"
run byre list
run byre show "name:$name"
run byre check --read-data
du -sh repository | sed 's/repository/on disk, with the reserve that init sets aside/'

say "6. Restore, as a chain"
run byre restore "name:$name" --to restored --verify

say "7. Let qemu-img judge: each layer alone, then what the guest sees"
same_layers "${images[@]}" || fail "what came back is not what was backed up"
[ "$(stamp)" = "$before" ] || fail "a source image changed while it was read"
echo "  same     the source images: nothing touched them"

if [ "$name" = demo ]; then
    say "8. Restore as one raw disk; its file system is whole"
    run byre restore "name:$name" --format raw --to flat.raw
    run qemu-img compare -f raw -F qcow2 flat.raw disks/tuesday.qcow2
    run e2fsck -fn flat.raw
fi

say "Done, in $((SECONDS / 60)) min $((SECONDS % 60)) s: every layer came back as it was"
cat <<END
Next, with disks of your own (nothing may be writing to them):

  export PATH=$program:\$PATH
  export BYRE_REPOSITORY=/srv/byre BYRE_PASSWORD_FILE=~/byre.pass
  byre init                          # prints a recovery code: keep it elsewhere
  byre backup --name vm DISK.qcow2   # the whole chain below DISK.qcow2
  byre list
  byre show vm
  byre restore vm --to /var/tmp/vm
  byre check --read-data

  byre help                          # everything else
  man $root/src/byre.1
END
