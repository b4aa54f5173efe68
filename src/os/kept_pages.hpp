// SPDX-License-Identifier: Apache-2.0
/// @file
/// The file pages that this process needs in RAM, although the kernel could drop them: those of the
/// weights that it has mapped.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <string>
#include <utility>

#include "os/proc_text.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::internal::os {

/// Counts a mapping of a file as needed for as long as the object exists.
/// Thread-safety: objects on any thread.
class KeptPages {
 public:
  KeptPages() = default;
  explicit KeptPages(std::size_t bytes) noexcept : bytes_(bytes) { total += bytes; }
  KeptPages(KeptPages&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}
  KeptPages& operator=(KeptPages&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~KeptPages() { total -= bytes_; }

  /// The bytes of all objects of this process.
  [[nodiscard]] static std::size_t all() noexcept { return total; }

 private:
  inline static std::atomic<std::size_t> total{0};

  std::size_t bytes_ = 0;
};

/// How many bytes of the mappings that are needed can be in RAM: their size, but no more than this
/// process maps of files in RAM (RssFile).
[[nodiscard]] inline std::size_t kept_bytes(const KernelRoots& roots = {}) {
  const std::size_t all = KeptPages::all();
  if (all == 0) return 0;
  return std::min(all, kib_of(read_text(roots.proc + "/self/status"), "RssFile:").value_or(all));
}

}  // namespace tapedeck::internal::os
