/// @file
/// Reads that the kernel makes beside the thread that asked for them (io_uring).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tapedeck/base/abi.hpp"

struct io_uring;

namespace tapedeck::internal::os {

/// One thread's queue of reads. Reads that were not waited for are waited for by the destructor,
/// since their memory is still written to.
class Ring {
 public:
  /// nullptr where the kernel refuses, or this was built without liburing.
  /// @param depth  how many reads may be under way at a time.
  [[nodiscard]] static std::unique_ptr<Ring> make(unsigned depth);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Starts a read. @pre fewer than `depth` are under way. Gives errno; no read may be started
  /// after one that was refused.
  [[nodiscard]] int read(int descriptor, std::span<std::byte> into, std::uint64_t offset,
                         std::uint64_t tag) noexcept;

  struct Done {
    std::uint64_t tag = 0;
    std::size_t bytes = 0;  ///< May be fewer than asked.
    int error = 0;          ///< errno of the read;
    int wait_error = 0;     ///< or of waiting for it: then nothing is known.
  };
  /// Waits for one. @pre some are under way.
  [[nodiscard]] Done wait() noexcept;

  [[nodiscard]] unsigned under_way() const noexcept { return under_way_; }

 private:
  Ring();

  std::unique_ptr<io_uring> queue_;
  unsigned under_way_ = 0;
};

}  // namespace tapedeck::internal::os
