#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds build/gpu-kit: programs and scripts that run on a bare machine with a GPU. `./dev gpu-kit`
# installs what this script needs, and then runs it.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

kit=build/gpu-kit
parts=build/gpu-kit-parts # libraries that Debian has no static archives of, built from its sources
largest=$((64 << 20))     # the maximum size of a kit in bytes

die() {
  printf 'gpu-kit: %s\n' "$*" >&2
  exit 1
}

# Debian's libbenchmark is only a shared library. apt fetches its source with separate package lists,
# because the lists of most machines do not contain source packages.
build_google_benchmark() {
  local version apt mirror
  version=$(dpkg-query -W -f='${source:Upstream-Version}' libbenchmark-dev)
  [[ ! -f $parts/lib/libbenchmark-$version ]] || return 0
  rm -rf "$parts" && mkdir -p "$parts"/{lists/partial,cache,source,lib}
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -1)
  printf 'deb-src %s bookworm main\n' \
    "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian}" \
    >"$parts/sources.list"
  apt=(apt-get -q -o APT::Sandbox::User=root -o "Dir::Etc::SourceList=$PWD/$parts/sources.list"
    -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$PWD/$parts/lists" -o "Dir::Cache=$PWD/$parts/cache")
  "${apt[@]}" update
  (cd "$parts/source" && "${apt[@]}" source --download-only benchmark)
  tar -xf "$parts"/source/benchmark_"$version".orig.tar.* -C "$parts/source" --strip-components=1
  cmake -G Ninja -S "$parts/source" -B "$parts/build" -D CMAKE_BUILD_TYPE=Release \
    -D CMAKE_INSTALL_PREFIX="$PWD/$parts" -D CMAKE_INSTALL_LIBDIR=lib -D BENCHMARK_ENABLE_TESTING=OFF \
    -D BENCHMARK_ENABLE_WERROR=OFF -D BENCHMARK_INSTALL_DOCS=OFF
  cmake --build "$parts/build" --target install
  rm -rf "$parts"/{lists,cache,source,build}
  touch "$parts/lib/libbenchmark-$version"
}

# A bare machine would lack any other library.
check_needs_only_glibc() {
  local file needed wrong=0
  for file in "$kit"/bin/* "$kit"/stand_in/*; do
    needed=$(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
      grep -vxE 'libc\.so\.6|libm\.so\.6|ld-linux-x86-64\.so\.2' | paste -sd ' ') || true
    [[ -z $needed ]] || { printf 'gpu-kit: %s needs %s\n' "$file" "$needed" >&2 && wrong=1; }
  done
  ((!wrong)) || die "the programs of the kit may only need libc, libm and the loader"
}

check_size() {
  local bytes
  bytes=$(du -sb "$kit" | cut -f1)
  ((bytes <= largest)) || die "$kit has $bytes bytes, which exceeds the limit of $largest"
  printf '== %s: %d files, %d MiB\n' "$kit" "$(find "$kit" -type f | wc -l)" $(((bytes + (1 << 20) - 1) >> 20))
}

PATH=$PATH:/usr/local/cuda/bin
nvcc --version >/dev/null 2>&1 ||
  die "no working nvcc was found in PATH or /usr/local/cuda/bin. Without it the kit would lack the benchmarks, the probe, the graph tests and decoding on a GPU. Install the CUDA toolkit"
build_google_benchmark
cmake --preset gpu-kit
cmake --build --preset gpu-kit
rm -rf "$kit"
cmake --install build/gpu-kit-build --component gpu-kit --strip --prefix "$kit"
check_needs_only_glibc
check_size
