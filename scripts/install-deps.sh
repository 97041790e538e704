#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Installs, from Debian's own archive, what is missing to build, try and test byre. Where nothing is
# missing it does nothing. usage: install-deps.sh [build|run|test]... (default: build run)
set -euo pipefail

# Group, package, and what it is for. `test` needs the other groups too.
packages() {
    cat <<'END'
build gcc               the compiler
build libc6-dev         headers of the C library; gcc only recommends it
build cmake             configures the build, runs the tests
build ninja-build       the generator that the presets name
build pkg-config        finds the libraries below
build libsodium-dev     seals, signatures, keyed BLAKE2b ids, Argon2id
build libzstd-dev       compresses frames; zstd clusters of qcow2
build libxxhash-dev     XXH3: where chunks are cut, checksums of ciphertext
build libssl-dev        libcrypto: GMAC fingerprints of what did not change, HMAC-SHA-256 ids
build libdeflate-dev    expands compressed clusters and tells their true length
build zlib1g-dev        compresses clusters as QEMU does; second opinion on streams
build libjansson-dev    JSON: records, --json, names such as json:{...}
build libinih-dev       splits the lines of the configuration of jobs
build libarchive-dev    tar: exports and imports
build libnbd-dev        disks that an NBD server has
build libvirt-dev       its domains, backed up while they run
build libxml2-dev       what libvirt says of them
build dpkg-dev          dpkg-shlibdeps: what the package depends on
build file              tells it what is a program
run   qemu-utils        qemu-img, qemu-io, qemu-nbd: make images, judge what came back, read other formats
run   e2fsprogs         mke2fs -d and debugfs: file systems of real files, without root
run   python3           reads what qemu-img says, and compares it layer by layer
test  clang             second compiler; libFuzzer
test  libclang-rt-dev   its sanitizers and libFuzzer; clang only recommends it
test  llvm              llvm-symbolizer: lines in the fuzzers' reports
test  clang-format      gate: format
test  clang-tidy        gate: lint
test  shellcheck        gate: scripts
test  mandoc            gate: manual page
test  git               tells which files the gates look at
test  libcmocka-dev     the unit tests' framework
test  diffutils         cmp, in the scenarios
test  tmux              a terminal for progress and prompts
test  zsh               completion, asked as a person would
test  fish              the same
test  lintian           what Debian has to say of the package
test  strace            kills the program at chosen system calls
test  socat             types what live status prints
test  libarchive-tools  bsdtar: a second reader of exports
test  mount             losetup: block devices as sources and targets
test  util-linux        setarch: no address randomisation below the thread sanitizer
test  systemd           systemd-analyze: verifies the units and their sandbox
test  qemu-system-common qemu-storage-daemon: somebody who holds an image open
test  qemu-system-x86   boots what was restored
test  libvirt-daemon    libvirtd: domains that are backed up
test  libvirt-clients   virsh
test  python3-libnbd    a guest of a running machine, which knows what it wrote
test  python3-nacl      the second reader: its seals, signatures and hashes
test  python3-zstandard the second reader's decompression
test  python3-cryptography its GMAC, which the other lacks
END
}

usage() {
    echo "usage: install-deps.sh [build|run|test]..." >&2
    exit 2
}

groups=()
for group in "${@:-default}"; do
    case $group in
    default) groups+=(build run) ;;
    build | run) groups+=("$group") ;;
    test) groups+=(build run test) ;;
    *) usage ;;
    esac
done

mapfile -t wanted < <(
    packages | while read -r group package _; do
        [[ " ${groups[*]} " != *" $group "* ]] || echo "$package"
    done
)

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    cat >&2 <<END
install-deps.sh: this is no Debian machine (no apt-get), so nothing was installed.
Install what these Debian packages hold, by the means of your system, then go on:
  ${wanted[*]}
END
    exit 1
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
missing=()
for package in "${wanted[@]}"; do
    grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "install-deps: all ${#wanted[@]} packages are there"
    exit 0
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        cat >&2 <<END
install-deps.sh: not root, and there is no sudo. As root, run:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}
END
        exit 1
    fi
    as_root=(sudo)
fi

echo "install-deps: installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
echo "install-deps: done"
