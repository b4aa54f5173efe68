// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TapeFull`: the exception that `take` throws when a tape has no room.
/// @code{.cpp}
/// using namespace tapedeck;
/// Tape tape = Tape::start(4_KiB, {.name = "scratch"});
/// try {
///   (void)tape.take(1_MiB);
/// } catch (const TapeFull& full) {
///   std::printf("%s: asked %zu, used %zu of %zu\n", full.name(), full.requested(), full.used(),
///               full.total());
/// }
/// @endcode
#pragma once

#include <cstddef>
#include <new>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A tape had no room. It derives from `std::bad_alloc`, so code written for allocators catches it.
/// Its construction allocates nothing. A larger tape or an earlier clear helps; trying again
/// does not. Thread-safety: immutable, so any thread may read it.
class TapeFull : public std::bad_alloc, public Error {
 public:
  /// The name is truncated to 31 characters. If the tape has room for the take, it could not be
  /// committed: a device's tape grows only in `prepare`, and the kernel may refuse. `floor` is the
  /// number of bytes below the tape's floor: only the rest is for takes, which the advice then
  /// states.
  TapeFull(std::string_view name, std::size_t requested, std::size_t used, std::size_t total,
           std::size_t floor = 0) noexcept;

  /// Throws a `TapeFull`. Out of line, because inlined code may be compiled without exceptions.
  [[noreturn]] static void raise(std::string_view name, std::size_t requested, std::size_t used,
                                 std::size_t total, std::size_t floor = 0);

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::out_of_memory; }
  [[nodiscard]] const char* what() const noexcept override { return what_; }
  [[nodiscard]] std::string_view advice() const noexcept override { return advice_; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;
  [[nodiscard]] const char* name() const noexcept { return name_; }
  [[nodiscard]] std::size_t requested() const noexcept { return requested_; }  ///< Bytes.
  [[nodiscard]] std::size_t used() const noexcept { return used_; }            ///< Bytes.
  [[nodiscard]] std::size_t total() const noexcept { return total_; }          ///< Bytes.

 private:
  char name_[32];
  char what_[288];
  const char* advice_;
  std::size_t requested_;
  std::size_t used_;
  std::size_t total_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
