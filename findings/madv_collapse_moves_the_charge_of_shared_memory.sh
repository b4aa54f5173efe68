#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Linux 6.18.44, x86-64 (seen in Debian 12): who is charged for shared memory that another process
# moves into huge pages?
#
# The pages of a memfd are charged to the memory cgroup of the process that first wrote them, and a
# process that only maps and reads them is charged nothing. That is how several processes share one
# copy of a model, each in a container with a small limit. Since Linux 6.1, MADV_COLLAPSE moves memory
# that exists already into huge pages, also through a mapping that is read-only. It looks like advice
# about the caller's own page tables.
#
# The huge pages are new pages, charged to the group of the caller, and those of the writer are freed.
# So a reader that asks for huge pages takes over the whole charge, up to its own limit, of memory that
# it cannot even write.
#
# Output seen, for 32 MiB that a process in the group "owner" wrote:
#   read:      owner 32 MiB, reader  0 MiB
#   collapsed: owner  0 MiB, reader 32 MiB
#
# Root is needed, to create two memory cgroups (version 1 or 2) without limits; they are removed
# again. Debian packages are downloaded into a temporary folder.
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

cat >collapse.py <<'PY'
import ctypes, os, sys

MIB = 1 << 20
BYTES = 32 * MIB
HUGE = 2 * MIB
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def memory_group():
    """The folder of this process's memory cgroup, and the name of its usage file."""
    for line in open("/proc/self/cgroup"):
        number, controllers, path = line.rstrip("\n").split(":", 2)
        if "memory" in controllers.split(","):
            return "/sys/fs/cgroup/memory" + path, "memory.usage_in_bytes"
    for line in open("/proc/self/cgroup"):
        if line.startswith("0::"):
            return "/sys/fs/cgroup" + line.rstrip("\n")[3:], "memory.current"
    sys.exit("no memory cgroup")


class Group:
    def __init__(self, name):
        parent, self.usage_file = memory_group()
        self.folder = os.path.join(parent, "%s-%d" % (name, os.getpid()))
        os.mkdir(self.folder)
        if not os.path.exists(os.path.join(self.folder, self.usage_file)):
            os.rmdir(self.folder)
            sys.exit("the memory controller is not on for children of " + parent)

    def usage(self):
        return int(open(os.path.join(self.folder, self.usage_file)).read()) / MIB

    def run(self, work):
        """Whether the work succeeded, in a child inside the group."""
        child = os.fork()
        if child == 0:
            with open(os.path.join(self.folder, "cgroup.procs"), "w") as procs:
                procs.write("0")
            os._exit(0 if work() else 1)
        return os.waitpid(child, 0)[1] == 0


def mapped(descriptor):
    # Behind an aligned address, so that whole huge pages fit.
    room = libc.mmap(None, BYTES + HUGE, 0, 0x22, -1, 0)
    at = (room + HUGE - 1) // HUGE * HUGE
    assert libc.mmap(at, BYTES, 1, 0x11, descriptor, 0) == at  # PROT_READ, MAP_SHARED | MAP_FIXED
    return at


memory = os.memfd_create("model")


def read():
    return len(ctypes.string_at(mapped(memory), BYTES)) == BYTES


def collapse():
    at = mapped(memory)
    return len(ctypes.string_at(at, BYTES)) == BYTES and libc.madvise(at, BYTES, 25) == 0  # MADV_COLLAPSE


def charges(what):
    seen = owner.usage(), reader.usage()
    print(what, "owner %2.0f MiB, reader %2.0f MiB" % seen)
    return seen


owner, reader = Group("owner"), Group("reader")
try:
    assert owner.run(lambda: os.pwrite(memory, b"x" * BYTES, 0) == BYTES)
    assert reader.run(read)
    before = charges("read:     ")
    assert reader.run(collapse)
    after = charges("collapsed:")
finally:
    os.close(memory)
    for group in (owner, reader):
        os.rmdir(group.folder)
kept = before[0] > 31 and before[1] < 4
moved = after[0] < 4 and after[1] > 31
sys.exit(not (kept and moved))
PY
usr=$folder/unpacked/usr
export LD_LIBRARY_PATH="$usr/lib/x86_64-linux-gnu:$folder/unpacked/lib/x86_64-linux-gnu"
PYTHONHOME=$usr "$usr/bin/python3.11" collapse.py
