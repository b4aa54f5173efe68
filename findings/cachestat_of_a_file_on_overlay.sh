#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Linux 6.18.44, x86-64 (seen in Debian 12): how much of a file on overlay is in the page cache?
#
# A program that loads a model asks first how much of its file is in memory: a hot file is mapped, a
# cold one may be read past the page cache. Since Linux 6.5, cachestat answers that for a descriptor,
# without a mapping. Every file of a container's image is on overlay.
#
# For a file on overlay that was just read as a whole, cachestat succeeds and counts no page: neither
# cached nor evicted. Overlay reads through to the file below, whose pages are the cached ones, and
# the inode that cachestat looks at has none of its own. mincore, for a mapping of the same
# descriptor, counts all pages, since a mapping leads to the file below as well. So does cachestat for
# a descriptor of the file below, which a container cannot open.
#
# One would have expected the number that mincore gives, or an error such as EOPNOTSUPP, which
# cachestat does return on hugetlbfs. A loader that trusts the answer takes every hot model in an image
# for a cold one.
#
# Output seen, for a file of 1024 pages:
#   cachestat, file on overlay: 0 cached, 0 evicted
#   cachestat, file below:      1024 cached, 0 evicted
#   mincore, file on overlay:   1024 cached
#
# Needs cachestat (Linux 6.5), and either root or user namespaces that may mount overlay (Linux 5.11).
# Mounts are made in a namespace of their own. Debian packages are downloaded into a temporary folder.
set -eu

if [ "${1:-}" != mounted ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  cp "$0" "$folder/script"
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

  mkdir mount
  as_root=$([ "$(id -u)" = 0 ] || echo --map-root-user)
  # shellcheck disable=SC2086
  unshare --mount $as_root sh script mounted
  exit
fi

# tmpfs, because a container's own files may be on overlay, which is no place for another one's.
mount -t tmpfs tmpfs mount
mkdir mount/below mount/above mount/work mount/overlay
head -c 4194304 /dev/zero >mount/below/model
mount -t overlay overlay -o lowerdir=mount/below,upperdir=mount/above,workdir=mount/work mount/overlay
cat mount/overlay/model >/dev/null

cat >ask.py <<'PY'
import ctypes, mmap, os, sys

CACHESTAT = 451
PAGES = 1024
libc = ctypes.CDLL(None, use_errno=True)


def cachestat(path):
    file = os.open(path, os.O_RDONLY)
    whole = (ctypes.c_uint64 * 2)(0, 0)
    found = (ctypes.c_uint64 * 5)()
    if libc.syscall(CACHESTAT, file, whole, found, 0) != 0:
        sys.exit("cachestat: " + os.strerror(ctypes.get_errno()))
    return found[0], found[3]


def mincore(path):
    file = os.open(path, os.O_RDONLY)
    mapping = mmap.mmap(file, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    states = (ctypes.c_ubyte * PAGES)()
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(mapping)), states) != 0:
        sys.exit("mincore: " + os.strerror(ctypes.get_errno()))
    return sum(state & 1 for state in states)


on_overlay, below = cachestat("mount/overlay/model"), cachestat("mount/below/model")
mapped = mincore("mount/overlay/model")
print("cachestat, file on overlay: %d cached, %d evicted" % on_overlay)
print("cachestat, file below:      %d cached, %d evicted" % below)
print("mincore, file on overlay:   %d cached" % mapped)
sys.exit((on_overlay, below, mapped) != ((0, 0), (PAGES, 0), PAGES))
PY
usr=$PWD/unpacked/usr
export LD_LIBRARY_PATH="$usr/lib/x86_64-linux-gnu:$PWD/unpacked/lib/x86_64-linux-gnu"
PYTHONHOME=$usr "$usr/bin/python3.11" ask.py
