#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds the Debian package, and lets lintian look at it. usage: package.sh [OPTION]...
#   --twice            builds it a second time, elsewhere: both have to be the same
#   --try-install DIR  makes a bare Debian in DIR, which must not exist, installs the package there,
#                      backs up and restores with it, and purges it; needs root, a network, 400 MB
#   BUILD: the build folder (default: build/release)
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
source=$PWD
build=${BUILD:-build/release}
twice=
root=
while (($#)); do
    case $1 in
    --twice) twice=1 ;;
    --try-install) root=${2:?} && shift ;;
    *)
        sed -n '3,8s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

# build_package SOURCE BUILD: sets ${package}.
build_package() {
    cmake --preset release -S "$1" -B "$2" -DBYRE_TESTS=OFF --log-level=WARNING >/dev/null
    cmake --build "$2" -- --quiet
    rm -f "$2"/byre_*.deb
    cpack -G DEB --config "$2/CPackConfig.cmake" >"$2/cpack.log" || {
        cat "$2/cpack.log" >&2
        exit 1
    }
    package=$(realpath "$2"/byre_*.deb)
}

build_package "$source" "$build"
first=$package
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
TMPDIR=$scratch lintian --fail-on error --allow-root "$first"
echo "package: $first"

if [ "$twice" ]; then
    other=$scratch/source
    mkdir "$other"
    tar -C "$source" --exclude=./build --exclude=./.git -cf - . | tar -C "$other" -xf -
    CMAKE_C_COMPILER_LAUNCHER='' build_package "$other" "$other/build/again"
    cmp "$first" "$package"
    echo "package: a second build is the same"
fi

[ "$root" ] || exit 0
[ ! -e "$root" ] || { echo "package.sh: $root exists" >&2; exit 1; }
debootstrap --variant=minbase bookworm "$root" >"$root.log" || { tail "$root.log" >&2; exit 1; }
rm -f "$root.log"
cp "$first" "$root/root/byre.deb"
cat >"$root/root/try.sh" <<'END'
set -eux
export DEBIAN_FRONTEND=noninteractive BYRE_PASSWORD=secret
apt-get -qq install -y --no-install-recommends /root/byre.deb </dev/null
byre version
[ "$(stat -c '%A %U %G' /etc/byre)" = 'drwxr-x--- root byre' ]
[ "$(stat -c '%A %U %G' /var/lib/byre-repos)" = 'drwx------ byre byre' ]
getent passwd byre | grep -q ':/var/lib/byre-repos:/usr/sbin/nologin$'
[ "$(dpkg -L byre | xargs stat -c '%a %U %G %F' | sort -u | grep -v 'symbolic link')" = "$(printf '%s\n' \
    '644 root root regular file' '755 root root directory' '755 root root regular file')" ]
# What was changed since is kept by an upgrade.
chmod 0700 /etc/byre
echo '# mine' >/etc/byre/byre.conf
dpkg -i /root/byre.deb
[ "$(stat -c %a /etc/byre)" = 700 ]

head -c 5000000 /dev/urandom >/root/disk.raw
byre init -r /srv/byre --recovery-code-file /root/code
byre backup -r /srv/byre --name disk /root/disk.raw
byre restore -r /srv/byre disk --to /root/restored
cmp /root/disk.raw /root/restored/disk.raw
# The user byre keeps a repository of his own.
runuser -u byre -- sh -c 'cd && byre init -r repo --recovery-code-file code && byre check -r repo'

apt-get -qq purge -y byre
! command -v byre
[ ! -e /var/cache/byre ]
# Repositories, configuration and state are not the package's.
[ -e /etc/byre/byre.conf ] && [ -e /srv/byre/config ] && [ -e /var/lib/byre-repos/repo/config ]
rm -r /etc/byre/byre.conf /var/lib/byre-repos /var/lib/byre
dpkg -i /root/byre.deb
apt-get -qq purge -y byre
[ ! -e /etc/byre ] && [ ! -e /var/lib/byre-repos ]
END
chroot "$root" sh /root/try.sh >"$root.log" 2>&1 || { cat "$root.log" >&2; exit 1; }
rm -f "$root.log"
echo "package: a bare Debian in $root took it"
