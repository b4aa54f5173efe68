// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TapeResource`: a tape as a `std::pmr::memory_resource`.
#pragma once

#include <cstddef>
#include <memory_resource>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Lets standard containers use a tape. Deallocation does nothing: a clear or rewind of the tape
/// releases the memory, and must not happen before the containers are destroyed. A full tape throws
/// `TapeFull`, which is a `std::bad_alloc`. Thread-safety: only the tape's writer.
/// @code{.cpp}
/// using namespace tapedeck;
/// Tape scratch = Tape::start(1_MiB);
/// {
///   TapeResource on_scratch(scratch);
///   std::pmr::vector<int> tokens({1, 2, 3}, &on_scratch);
///   assert(scratch.owns(tokens.data()));
/// }
/// scratch.clear();
/// @endcode
class TapeResource final : public std::pmr::memory_resource {
 public:
  explicit TapeResource(Tape& tape) noexcept : tape_(&tape) {}

  [[nodiscard]] Tape& tape() const noexcept { return *tape_; }

 private:
  // Flattened, because GCC would not inline try_take for an alignment known only at run time.
  [[gnu::flatten]] void* do_allocate(std::size_t bytes, std::size_t align) override {
    return tape_->take(bytes, align);
  }
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  // In the library, so that this header can be used with -fno-rtti.
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override;

  Tape* tape_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
