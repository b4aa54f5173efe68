// SPDX-License-Identifier: Apache-2.0
/// @file
/// The heaps of glibc and of mimalloc in one program. Linking libmimalloc.so would replace
/// `malloc`, so it is opened at run time, with its symbols kept local, and called through its own
/// names.
#pragma once

#include <cstddef>
#include <string>

namespace heaps {

/// The file that this program's `malloc` comes from.
[[nodiscard]] std::string malloc_file();

/// Whether that file is glibc. If it is not (another malloc was preloaded), glibc is not measured.
[[nodiscard]] bool malloc_is_glibc();

/// mimalloc's functions. They are null if mimalloc is not installed.
struct Mimalloc {
  void* (*malloc)(std::size_t bytes) = nullptr;
  void* (*malloc_aligned)(std::size_t bytes, std::size_t align) = nullptr;
  void (*free)(void*) = nullptr;
  int version = 0;

  explicit operator bool() const { return malloc_aligned != nullptr; }
};

/// The first call opens mimalloc.
[[nodiscard]] const Mimalloc& mimalloc();

/// A line for the output: where `malloc` comes from, and which mimalloc was found.
[[nodiscard]] std::string description();

}  // namespace heaps
