/// @file
/// glibc's heap and mimalloc's, both in one program. Linking libmimalloc.so would replace `malloc`,
/// so it is opened at run time, apart from the program's own names, and called by its own.
#pragma once

#include <cstddef>
#include <string>

namespace heaps {

/// The file that this program's `malloc` comes from.
[[nodiscard]] std::string malloc_file();

/// Whether that is glibc; if not (something was preloaded), no row may be called so.
[[nodiscard]] bool malloc_is_glibc();

/// mimalloc's functions; null where it is not installed.
struct Mimalloc {
  void* (*malloc)(std::size_t bytes) = nullptr;
  void* (*malloc_aligned)(std::size_t bytes, std::size_t align) = nullptr;
  void (*free)(void*) = nullptr;
  int version = 0;

  explicit operator bool() const { return malloc_aligned != nullptr; }
};

/// Opened by the first call.
[[nodiscard]] const Mimalloc& mimalloc();

/// For people: whose `malloc` it is, and which mimalloc was found.
[[nodiscard]] std::string description();

}  // namespace heaps
