#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang 1:14.0.6-12 and gcc 12.2.0-14+deb12u1 (Debian 12, x86-64): does an atomic addition of 0 write?
#
# Memory that must be resident before it is needed is often touched by atomically adding 0 to a byte
# of each page: a write that changes nothing, even while other threads use the memory. One would
# expect it to be a write with every compiler, in particular with sequential consistency.
#
# GCC compiles a locked instruction, and the page becomes the process's own. Clang, from -O1 on,
# compiles a fence and a load. The kernel answers a load of fresh private memory with its shared page
# of zeros: mincore and the page table show the page as present, but no memory was allocated, and the
# first write faults after all.
#
# An exchange of the byte for itself (compare and swap) stays a write with both.
#
# Output seen (what the kernel counts as the process's own after the touch):
#   gcc, addition of 0:   4 KiB
#   gcc, exchange:        4 KiB
#   clang, addition of 0: 0 KiB
#   clang, exchange:      4 KiB
#
# Root is not needed. Debian packages are downloaded into a temporary folder.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fetch() { apt-get -o APT::Sandbox::User=root download "$@" >apt.log 2>&1; }
packages="clang-14=1:14.0.6-12 libclang-cpp14=1:14.0.6-12 libllvm14=1:14.0.6-12
  cpp-12=12.2.0-14+deb12u1 binutils-x86-64-linux-gnu=2.40-2 libbinutils=2.40-2 libctf0=2.40-2
  libjansson4 libgmp10 libisl23 libmpc3 libmpfr6 libzstd1 libbsd0 libedit2 libicu72 libmd0 libxml2
  libz3-4 libstdc++6 zlib1g python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libffi8"
# A fresh machine may not have package lists yet. If so, fetch them into this folder.
# shellcheck disable=SC2086
if ! fetch $packages; then
  mkdir -p lists/partial
  lists="-o Dir::State::lists=$folder/lists -o Dir::Cache=$folder"
  apt-get $lists update >apt.log 2>&1 || { cat apt.log; exit 1; }
  apt-get $lists -o APT::Sandbox::User=root download $packages >apt.log 2>&1 || { cat apt.log; exit 1; }
fi
for package in ./*.deb; do dpkg-deb -x "$package" unpacked; done
usr=$folder/unpacked/usr
export LD_LIBRARY_PATH="$usr/lib/x86_64-linux-gnu:$folder/unpacked/lib/x86_64-linux-gnu:$usr/lib/llvm-14/lib"

cat >touch.c <<'C'
void add_zero(unsigned char *page) { __atomic_fetch_add(page, 0, __ATOMIC_SEQ_CST); }
void exchange(unsigned char *page) {
  unsigned char same = __atomic_load_n(page, __ATOMIC_SEQ_CST);
  __atomic_compare_exchange_n(page, &same, same, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
C
"$usr/lib/gcc/x86_64-linux-gnu/12/cc1" -quiet -O2 -fPIC touch.c -o gcc.s
"$usr/bin/x86_64-linux-gnu-as" gcc.s -o gcc.o
"$usr/lib/llvm-14/bin/clang" -O2 -fPIC -c touch.c -o clang.o
for compiler in gcc clang; do
  "$usr/bin/x86_64-linux-gnu-ld" -shared $compiler.o -o $compiler.so
done

cat >touch.py <<'PY'
import ctypes, sys

PAGE = 4096
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def own_kib(address):
    """What the kernel counts as the process's own in the mapping that begins at this address."""
    here = False
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            here = int(words[0].split("-")[0], 16) == address
        elif here and words[0] == "Anonymous:":
            return int(words[1])


def touched(compiler, function):
    # A page between two without access, so that the kernel merges it with no other mapping.
    page = libc.mmap(None, 3 * PAGE, 0, 0x22, -1, 0) + PAGE
    assert libc.mprotect(page, PAGE, 3) == 0
    touch = getattr(ctypes.CDLL("./" + compiler + ".so"), function)
    touch.argtypes = [ctypes.c_void_p]
    touch(page)
    return own_kib(page)


seen = [touched(compiler, function) for compiler in ("gcc", "clang") for function in ("add_zero", "exchange")]
names = ["gcc, addition of 0:  ", "gcc, exchange:       ", "clang, addition of 0:", "clang, exchange:     "]
for name, kib in zip(names, seen):
    print(name, kib, "KiB")
sys.exit(seen != [4, 4, 0, 4])
PY
PYTHONHOME=$usr "$usr/bin/python3.11" touch.py
