#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes a small Debian machine to try restores on: it boots by itself (BIOS, a disk on virtio, console
# on the first serial port), holds its files against their sums there, and asks for a login.
# Root; a few minutes; about 1 GB.
# usage: make-guest.sh [--payload FOLDER] DIR [SUITE]
#   FOLDER more to be in guest.qcow2: it is copied to /root/payload, and its program setup.sh is run there,
#          in the system on the disk and with its network, but with no service of it
#   DIR    where base.qcow2 goes, and guest.qcow2, an overlay of it; a base that is there is taken
#   SUITE  of Debian (default: bookworm)
#   MIRROR in the environment: where packages come from (default: http://deb.debian.org/debian)
# On its console it says "guest: 1234 files are whole", or "guest: files are DAMAGED".
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin

payload=
if [ "${1:-}" = --payload ] && (($# > 1)); then
    payload=$(realpath "$2")
    shift 2
fi
if (($# < 1 || $# > 2)) || [[ $1 = -* ]]; then
    sed -n 's/^# usage: /usage: /p; /^#   /s/^# //p' "$0" >&2
    exit 2
fi
[ "$(id -u)" = 0 ] || { echo "make-guest.sh: mounting disks needs root" >&2; exit 1; }
for tool in qemu-img qemu-storage-daemon losetup mkfs.ext4 debootstrap chroot python3; do
    command -v $tool >/dev/null || { echo "make-guest.sh: $tool is missing (Debian: debootstrap qemu-utils qemu-system-common e2fsprogs)" >&2; exit 1; }
done
[ -z "$payload" ] || [ -x "$payload/setup.sh" ] || { echo "make-guest.sh: there is no program $payload/setup.sh" >&2; exit 1; }
[ -e /dev/fuse ] || { echo "make-guest.sh: there is no /dev/fuse" >&2; exit 1; }
mkdir -p "$1"
dir=$(realpath "$1") suite=${2:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
new=$dir/guest.qcow2.new
[ ! -e "$dir/guest.qcow2" ] || { echo "make-guest.sh: $dir/guest.qcow2 is there already" >&2; exit 1; }
work=$(mktemp -d "$dir/make-guest.XXXXXX")
mnt=$work/mnt
mkdir "$mnt"
partition=1048576 # where it begins, in bytes

undo=("rm -rf '$work' '$new'")
undo_all() {
    local i
    for ((i = ${#undo[@]} - 1; i >= 0; i--)); do eval "${undo[i]}" || true; done
    undo=()
}
trap undo_all EXIT

wait_for() { # wait_for COMMAND...: until it succeeds, at most ten seconds
    local try
    for ((try = 0; try < 100; try++)); do
        if "$@"; then return; fi
        sleep 0.1
    done
    echo "make-guest.sh: waited in vain for: $*" >&2
    return 1
}
is_file_of_size() { [ "$(stat -c %s "$1")" -gt 0 ]; }
has_ended() { ! kill -0 "$1" 2>/dev/null; }

# attach IMAGE: as the file ${work}/export, through QEMU, so that every write goes where QEMU puts it.
attach() {
    local pid
    : >"$work/export"
    qemu-storage-daemon --daemonize --pidfile "$work/pid" \
        --blockdev "driver=file,node-name=f,filename=$1,discard=unmap" \
        --blockdev driver=qcow2,node-name=q,file=f,discard=unmap \
        --export "type=fuse,id=x,node-name=q,mountpoint=$work/export,writable=on"
    pid=$(cat "$work/pid")
    undo+=("kill $pid; wait_for has_ended $pid")
    wait_for is_file_of_size "$work/export"
}

mounted() { # with a new file system where ${1} says so
    local device
    device=$(losetup --find --show --offset $partition "$work/export")
    undo+=("losetup -d $device")
    # As extlinux can read it.
    [ "${1:-}" != new ] || mkfs.ext4 -q -O '^64bit,^metadata_csum' -L guest "$device"
    mount "$device" "$mnt"
    undo+=("umount $mnt")
}

# inside COMMAND...: in the system on the disk; no service starts there.
inside() {
    local code=0
    printf '#!/bin/sh\nexit 101\n' >"$mnt/usr/sbin/policy-rc.d"
    chmod 755 "$mnt/usr/sbin/policy-rc.d"
    mount --bind /proc "$mnt/proc"
    mount --bind /dev "$mnt/dev"
    mount --bind /sys "$mnt/sys"
    env -u TMPDIR chroot "$mnt" "$@" </dev/null >"$work/log" 2>&1 || code=$?
    umount "$mnt/sys" "$mnt/dev" "$mnt/proc"
    rm "$mnt/usr/sbin/policy-rc.d"
    [ $code = 0 ] || { tail -n 20 "$work/log" >&2; return 1; }
}

detach() { # all is on it
    sync -f "$mnt"
    fstrim "$mnt"
    local keep=${undo[0]}
    undo=("${undo[@]:1}")
    undo_all
    undo=("$keep")
}

make_base() {
    echo "make-guest: base.qcow2" >&2
    qemu-img create -q -f qcow2 "$work/base.qcow2" 4G
    attach "$work/base.qcow2"
    # One partition, which boots, of all that is behind its begin.
    python3 - "$work/export" $partition <<'PY'
import os, struct, sys
begin, end = int(sys.argv[2]) // 512, os.path.getsize(sys.argv[1]) // 512
with open(sys.argv[1], "r+b") as disk:
    disk.seek(446)
    disk.write(struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", begin, end - begin))
    disk.write(bytes(48) + b"\x55\xaa")
PY
    mounted new
    debootstrap --variant=minbase --include=systemd-sysv,udev,initramfs-tools,linux-image-cloud-amd64,extlinux,syslinux-common \
        "$suite" "$mnt" "$mirror" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
    echo 'LABEL=guest / ext4 defaults 0 1' >"$mnt/etc/fstab"
    echo guest >"$mnt/etc/hostname"
    mkdir -p "$mnt/boot/extlinux"
    cat >"$mnt/boot/extlinux/extlinux.conf" <<'END'
SERIAL 0
DEFAULT debian
LABEL debian
    LINUX /vmlinuz
    INITRD /initrd.img
    APPEND root=LABEL=guest ro console=ttyS0 quiet
END
    inside extlinux --install /boot/extlinux
    dd if="$mnt/usr/lib/EXTLINUX/mbr.bin" of="$work/export" conv=notrunc status=none
    rm -rf "$mnt"/var/cache/apt/archives/*.deb "$mnt"/var/lib/apt/lists/*
    detach
    mv "$work/base.qcow2" "$dir/base.qcow2"
}
[ -e "$dir/base.qcow2" ] || make_base

echo "make-guest: guest.qcow2" >&2
# The name of the base is relative, so that the folder can be moved.
(cd "$dir" && qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$new")
attach "$new"
mounted
cat >"$mnt/usr/local/sbin/whole" <<'END'
#!/bin/sh
if sha256sum --quiet -c /var/lib/sums; then
    echo "guest: $(wc -l </var/lib/sums) files are whole"
else
    echo "guest: files are DAMAGED"
fi
END
chmod 755 "$mnt/usr/local/sbin/whole"
cat >"$mnt/etc/systemd/system/whole.service" <<'END'
[Unit]
Description=Holds files against their sums
Before=serial-getty@ttyS0.service

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/whole
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0

[Install]
WantedBy=multi-user.target
END
if [ -n "$payload" ]; then
    cp -r "$payload" "$mnt/root/payload"
    inside sh -c 'cd /root/payload && ./setup.sh'
fi
inside sh -c 'systemctl enable whole.service && find /usr /etc -xdev -type f ! -path /etc/resolv.conf ! -path /etc/hostname \
    ! -path /etc/machine-id ! -path "/etc/ld.so.cache" ! -name policy-rc.d -print0 | sort -z | xargs -0 sha256sum >/var/lib/sums'
detach
mv "$new" "$dir/guest.qcow2"
du -h "$dir/base.qcow2" "$dir/guest.qcow2"
