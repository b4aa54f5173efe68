// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Ring`: reads that the kernel performs asynchronously (io_uring).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tapedeck/base/abi.hpp"

struct io_uring;

namespace tapedeck::internal::os {

/// A queue of reads for one thread. The destructor waits for all outstanding reads, since they
/// still write to memory.
class Ring {
 public:
  /// Returns nullptr if the kernel refuses or the library was built without liburing.
  /// @param depth  the maximum number of outstanding reads.
  [[nodiscard]] static std::unique_ptr<Ring> make(unsigned depth);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Starts a read. Returns errno. After an error no further read may be started.
  /// @pre fewer than `depth` reads are outstanding.
  [[nodiscard]] int read(int descriptor, std::span<std::byte> into, std::uint64_t offset,
                         std::uint64_t tag) noexcept;

  struct Done {
    std::uint64_t tag = 0;
    std::size_t bytes = 0;  ///< May be fewer than requested.
    int error = 0;          ///< errno of the read.
    int wait_error = 0;     ///< errno of waiting; if it is set, the other fields have no meaning.
  };
  /// Waits until a read is done. @pre at least one read is outstanding.
  [[nodiscard]] Done wait() noexcept;

  [[nodiscard]] unsigned under_way() const noexcept { return under_way_; }

 private:
  Ring();

  std::unique_ptr<io_uring> queue_;
  unsigned under_way_ = 0;
};

}  // namespace tapedeck::internal::os
