#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Linux 6.18.44, x86-64 (seen in Debian 12): what does mlock lock of memory that may be dropped?
#
# Since Linux 6.11, MAP_DROPPABLE maps memory whose pages the kernel may throw away under pressure:
# they read as zeros then. It suits caches that can be filled again. A host that locks what it needs
# would expect mlock either to keep such pages, or to refuse them, as it refuses what it cannot lock
# (ENOMEM, EPERM, EINVAL).
#
# It returns 0 and does nothing. The mapping is not locked (Locked: 0 kB, no "lo" in VmFlags), the
# process has no more locked memory than before (VmLck), and the pages may still be dropped. Only
# smaps shows it.
#
# Output seen, for 16 pages that were written to:
#   private:   mlock 0, Locked 64 kB, VmLck +64 kB
#   droppable: mlock 0, Locked 0 kB, VmLck +0 kB
#
# Root is not needed. Debian packages are downloaded into a temporary folder.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fetch() { apt-get -o APT::Sandbox::User=root download "$@" >apt.log 2>&1; }
packages="python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libffi8 zlib1g"
# A fresh machine may not have package lists yet. If so, fetch them into this folder.
# shellcheck disable=SC2086
if ! fetch $packages; then
  mkdir -p lists/partial
  lists="-o Dir::State::lists=$folder/lists -o Dir::Cache=$folder"
  apt-get $lists update >apt.log 2>&1 || { cat apt.log; exit 1; }
  apt-get $lists -o APT::Sandbox::User=root download $packages >apt.log 2>&1 || { cat apt.log; exit 1; }
fi
for package in ./*.deb; do dpkg-deb -x "$package" unpacked; done

cat >lock.py <<'PY'
import ctypes, os, sys

PAGE = 4096
BYTES = 16 * PAGE
PRIVATE, DROPPABLE, ANONYMOUS = 0x02, 0x08, 0x20
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def locked_by_process():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmLck:"))


def locked_at(address):
    here = False
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            here = int(words[0].split("-")[0], 16) == address
        elif here and words[0] == "Locked:":
            return int(words[1])


def lock(kind):
    # Between two pages without access, so that the kernel merges it with no other mapping.
    mapped = libc.mmap(None, BYTES + 2 * PAGE, 0, kind | ANONYMOUS, -1, 0)
    if mapped == ctypes.c_void_p(-1).value:
        sys.exit("mmap: " + os.strerror(ctypes.get_errno()))
    at = mapped + PAGE
    assert libc.mprotect(at, BYTES, 3) == 0
    ctypes.memset(at, 7, BYTES)
    before = locked_by_process()
    result = libc.mlock(at, BYTES)
    return result, locked_at(at), locked_by_process() - before


seen = [lock(PRIVATE), lock(DROPPABLE)]
for name, one in zip(("private:  ", "droppable:"), seen):
    print(name, "mlock %d, Locked %d kB, VmLck +%d kB" % one)
sys.exit(seen != [(0, 64, 64), (0, 0, 0)])
PY
usr=$folder/unpacked/usr
export LD_LIBRARY_PATH="$usr/lib/x86_64-linux-gnu:$folder/unpacked/lib/x86_64-linux-gnu"
PYTHONHOME=$usr "$usr/bin/python3.11" lock.py
