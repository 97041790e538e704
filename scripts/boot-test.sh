#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Boots a disk image in QEMU on a throw-away overlay, and waits for a line on its serial console. Nothing
# is written to the image or to what is below it, and the guest has no network.
# usage: boot-test.sh [OPTION]... DIR|IMAGE
#   DIR             a restored archive; of a drill, the images are those of the archive, the first
#                   boots, and the others are its further disks
#   --image NAME    only this image, the end of its path below DIR; may be repeated
#   --expect REGEX  an extended regular expression that what it says has to match (default: login:)
#   --timeout S     seconds that it has for that (default: 300)
#   --memory MB     of the guest (default: 512)
#   --bus BUS       that its disks are on: virtio, ide or scsi (default: virtio)
#   --firmware FILE instead of the BIOS, say /usr/share/ovmf/OVMF.fd for UEFI
#   --kvm           let the processor run it, instead of emulating one
#   --log FILE      where all goes that it says
# With byre: byre drill --command '/usr/local/share/byre/boot-test.sh .'
# exit: 0 it said so; 1 it did not; 2 wrong usage
set -euo pipefail
export LC_ALL=C

fail() {
    echo "boot-test: $*" >&2
    exit 1
}
usage() {
    [ $# = 0 ] || echo "boot-test: $*" >&2
    sed -n 's/^# usage: /usage: /p; /^#   /s/^# //p' "$0" >&2
    exit 2
}

expect=login: timeout=300 memory=512 bus=virtio firmware='' accelerator=tcg processor=max,la57=off log='' names=()
place=()
while (($#)); do
    case $1 in
    --image | --expect | --timeout | --memory | --bus | --firmware | --log)
        (($# > 1)) || usage "$1 needs a value"
        case $1 in
        --image) names+=("$2") ;;
        --expect) expect=$2 ;;
        --timeout) timeout=$2 ;;
        --memory) memory=$2 ;;
        --bus) bus=$2 ;;
        --firmware) firmware=$2 ;;
        --log) log=$2 ;;
        esac
        shift
        ;;
    --kvm) accelerator=kvm processor=host ;;
    -h | --help)
        sed -n 's/^# usage: /usage: /p; /^#   /s/^# //p' "$0"
        exit 0
        ;;
    -*) usage "unknown option $1" ;;
    *) place+=("$1") ;;
    esac
    shift
done
((${#place[@]} == 1)) || usage "which folder or image?"
for number in "$timeout" "$memory"; do
    [[ $number =~ ^[1-9][0-9]{0,6}$ ]] || usage "$number is no number for --timeout or --memory"
done
case $bus in virtio | ide | scsi) ;; *) usage "--bus: virtio, ide or scsi, not $bus" ;; esac
matches() { [[ $1 =~ $expect ]]; }
matches '' 2>/dev/null && usage "--expect \"$expect\" matches anything"
[ "$(matches '' 2>/dev/null; echo $?)" = 1 ] || usage "--expect \"$expect\" is no regular expression"
for tool in qemu-img qemu-system-x86_64; do
    command -v $tool >/dev/null || fail "there is no $tool here (Debian: qemu-utils qemu-system-x86)"
done

# The images: those named, else those of the drill, else the only one there is.
images=()
if [ -f "${place[0]}" ]; then
    images=("$(realpath "${place[0]}")")
elif [ ! -d "${place[0]}" ]; then
    fail "${place[0]}: no such file or folder"
else
    folder=$(realpath "${place[0]}")
    mapfile -d '' -t files < <(find "$folder" -path "$folder/side-files" -prune -o -type f -print0)
    for name in ${names[@]+"${names[@]}"}; do
        found=()
        for file in ${files[@]+"${files[@]}"}; do [[ /$file != *"/$name" ]] || found+=("$file"); done
        ((${#found[@]} == 1)) || fail "${#found[@]} files in $folder end with $name"
        images+=("${found[0]}")
    done
    if ((${#images[@]} == 0)) && [ "$folder" = "${BYRE_DRILL_DIR:-}" ]; then
        mapfile -t images <<<"$BYRE_DRILL_IMAGES"
    elif ((${#images[@]} == 0)); then
        ((${#files[@]} == 1)) || fail "there are ${#files[@]} files in $folder: which is to boot? see --image"
        images=("${files[0]}")
    fi
fi

# In a drill it goes with the rest, even where this is killed.
work=$(mktemp -d "${BYRE_DRILL_DIR:-${TMPDIR:-/var/tmp}}/boot-test.XXXXXX")
qemu=
# Called by the trap below.
# shellcheck disable=SC2317
clean_up() {
    local code=$?
    trap '' INT TERM
    if [ -n "$qemu" ]; then
        kill -KILL "$qemu" 2>/dev/null || true
        wait "$qemu" 2>/dev/null || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A guest decides what its raw disk begins with: so only byre's own two formats are told apart.
drives=() overlays=()
[ "$bus" != scsi ] || drives=(-device virtio-scsi-pci)
for image in "${images[@]}"; do
    format=raw
    [ "$(head -c 4 "$image" | od -An -tx1 | tr -d ' \n')" != 514649fb ] || format=qcow2
    overlay=$work/disk-${#overlays[@]}.qcow2
    qemu-img create -q -f qcow2 -b "$image" -F $format "$overlay" || fail "$image cannot be opened"
    interface=$bus
    if [ "$bus" = scsi ]; then
        interface=none
        drives+=(-device "scsi-hd,drive=disk${#overlays[@]}")
    fi
    drives+=(-drive "if=$interface,id=disk${#overlays[@]},format=qcow2,cache=unsafe,file=${overlay//,/,,}")
    overlays+=("$overlay")
done

arguments=(-name boot-test -machine pc -accel "$accelerator" -cpu "$processor" -m "$memory" -nodefaults -no-user-config
    -vga std -display none -monitor none -nic none -no-reboot -device virtio-rng-pci -chardev "stdio,id=console,signal=off"
    -serial chardev:console)
[ -z "$firmware" ] || arguments+=(-bios "$firmware")
[ -z "$log" ] || : >"$log"
SECONDS=0
exec {console}< <(exec qemu-system-x86_64 "${arguments[@]}" "${drives[@]}" </dev/null 2>&1)
qemu=$!

# A prompt ends no line: what has come by the end of each second is looked at as well.
line='' tail=()
say_why() {
    ((${#tail[@]} == 0)) || printf '  %s\n' "${tail[@]}" >&2
    [ -z "$line" ] || printf '  %s\n' "$line" >&2
    fail "$*"
}
while ((SECONDS < timeout)); do
    code=0 part=
    IFS= read -r -t 1 part <&"$console" || code=$?
    [ -z "$log" ] || printf '%s' "$part" >>"$log"
    part=${part//[^[:print:]]/}
    line+=$part
    ((${#line} <= 4096)) || line=${line: -4096}
    if matches "$line"; then
        echo "boot-test: \"$line\" after $SECONDS s"
        exit 0
    fi
    if ((code == 0)); then
        [ -z "$log" ] || echo >>"$log"
        [ -z "$line" ] || tail+=("$line")
        ((${#tail[@]} <= 20)) || tail=("${tail[@]:1}")
        line=
    elif ((code <= 128)); then
        say_why "the machine ended after $SECONDS s, and did not say \"$expect\""
    fi
done
say_why "the machine did not say \"$expect\" within $timeout s"
