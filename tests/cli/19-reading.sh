#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# How sources are read: the page cache is left as it was found, and any number of threads gives the same.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

# cached FILE: which of its pages are in the page cache, a digit for each.
cached() {
    python3 - "$1" <<'END'
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
size = os.path.getsize(sys.argv[1])
fd = os.open(sys.argv[1], os.O_RDONLY)
at = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(0))
pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
if libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), pages):
    sys.exit(os.strerror(ctypes.get_errno()))
print("".join(str(page & 1) for page in pages))
END
}

# only FILE FROM LENGTH: of its pages these alone are in the page cache (bytes).
only() {
    python3 - "$@" <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(fd)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
os.pread(fd, int(sys.argv[3]), int(sys.argv[2]))
END
}

python3 -c 'import random; print(random.Random(19).randbytes(10485760).hex(), end="")' >data
qemu-img convert -f raw -O qcow2 data plain.qcow2
qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd data squeezed.qcow2
cp plain.qcow2 snap.qcow2
qemu-img snapshot -c s snap.qcow2
qemu-io -f qcow2 -c 'write -P 7 5M 300k' snap.qcow2 >/dev/null
images=(data plain.qcow2 squeezed.qcow2 snap.qcow2)

byre init -q --reserve 0 >/dev/null
"$BYRE" --json backup --threads 1 --name one "${images[@]}" >first.json
for image in "${images[@]}"; do
    touch "$image"
done
"$BYRE" --json backup --threads 4 --name one --full-read "${images[@]}" >four.json
"$BYRE" --json backup --threads 4 --name one "${images[@]}" >compared.json
python3 - <<'END'
import json
one, four, compared = (json.loads(open(name + ".json").read().splitlines()[-1]) for name in ("first", "four", "compared"))
assert one["chunks_new"] > 0 and four["chunks_new"] == compared["chunks_new"] == 0, (one, four, compared)
for name in "chunks_total", "bytes_allocated", "bytes_read":
    assert one[name] == four[name], (name, one, four)
assert compared["layers_unchanged"] == len(("data", "plain", "squeezed", "snap")), compared
END

only plain.qcow2 4194304 3000000
cached plain.qcow2 | grep -q 0 || skip "the rest needs a file system whose pages can be dropped"
for image in "${images[@]}"; do
    only "$image" 4194304 3000000
    cached "$image" >before
    byre backup -q --name one --full-read "$image"
    cached "$image" >after
    # what was there still is, and what was not is not; but for qcow2 metadata
    python3 - "$image" <<'END'
import sys
before, after = (open(name).read().strip() for name in ("before", "after"))
lost = sum(b > a for b, a in zip(before, after))
more = sum(b < a for b, a in zip(before, after))
if lost > 300 or more > 300 or before.count("1") < 700:  # the kernel may be short of memory
    sys.exit(f"{sys.argv[1]}: of {len(before)} pages {before.count('1')} were in the cache, {lost} went, {more} came")
END
done
