#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# libmicrohttpd 0.9.75-6 (Debian 12): who owns the listening socket when MHD_start_daemon fails?
#
# MHD_OPTION_LISTEN_SOCKET hands a listening socket to the daemon, which closes it when it is
# stopped. One would expect a single rule for a start that fails: either the caller still owns the
# socket, or the library has closed it. Neither holds. It depends on the step that failed:
#   - no descriptor was left for epoll: the socket is still open, and a caller that does not close it
#     leaks it;
#   - no memory was left for the thread's stack: the socket is already closed, and a caller that
#     closes it again may close a file of another thread that has since received the same number.
# In both cases the function returns NULL, and the manual does not mention the socket.
#
# A caller can tell the cases apart by comparing fstat's st_ino before and after the call.
#
# Output seen:
#   no descriptor for epoll: start failed, the socket is open
#   no memory for a stack:   start failed, the socket is closed
#
# Root is not needed. Debian packages are downloaded into a temporary folder.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fetch() { apt-get -o APT::Sandbox::User=root download "$@" >apt.log 2>&1; }
packages="libmicrohttpd12=0.9.75-6 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libffi8"
# A fresh machine may not have package lists yet. If so, fetch them into this folder.
if ! fetch $packages; then
  mkdir -p lists/partial
  lists="-o Dir::State::lists=$folder/lists -o Dir::Cache=$folder"
  apt-get $lists update >apt.log 2>&1 || { cat apt.log; exit 1; }
  # shellcheck disable=SC2086
  apt-get $lists -o APT::Sandbox::User=root download $packages >apt.log 2>&1 || { cat apt.log; exit 1; }
fi
for package in ./*.deb; do dpkg-deb -x "$package" unpacked; done

cat >start.py <<'PY'
import ctypes, os, resource, socket, sys

mhd = ctypes.CDLL(sys.argv[1])
mhd.MHD_start_daemon.restype = ctypes.c_void_p
HANDLER = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 8)
handler = HANDLER(lambda *_: 0)
EPOLL_INTERNAL_THREAD = 512 | 8
LISTEN_SOCKET, STACK_SIZE, END = 12, 19, 0


def start(*options):
    """Starts a daemon that must fail, and returns what happened to its listening socket."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    number = listening.detach()
    before = os.fstat(number).st_ino
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not options:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number + 1, limit[1]))
    daemon = mhd.MHD_start_daemon(
        ctypes.c_uint(EPOLL_INTERNAL_THREAD), ctypes.c_uint16(0), None, None, handler, None,
        ctypes.c_int(LISTEN_SOCKET), ctypes.c_int(number), *options, ctypes.c_int(END))
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    try:
        state = "open" if os.fstat(number).st_ino == before else "closed"
    except OSError:
        state = "closed"
    return "started" if daemon else f"start failed, the socket is {state}"


print("no descriptor for epoll:", start())
print("no memory for a stack:  ", start(ctypes.c_int(STACK_SIZE), ctypes.c_size_t(1 << 46)))
PY

cd unpacked/usr
LD_LIBRARY_PATH=$PWD/lib/x86_64-linux-gnu PYTHONHOME=$PWD \
  bin/python3.11 ../../start.py libmicrohttpd.so.12 >../../seen
cd ../..
cat seen
cat >expected <<'TEXT'
no descriptor for epoll: start failed, the socket is open
no memory for a stack:   start failed, the socket is closed
TEXT
cmp -s seen expected || {
  echo "the output differs from that of libmicrohttpd 0.9.75-6"
  exit 1
}
