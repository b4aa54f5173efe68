// SPDX-License-Identifier: Apache-2.0
/// @file
/// Address ranges for tests. Their destructors unmap them.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "os/self.hpp"
#include "os/vm.hpp"

namespace tapedeck::tests {

/// A reserved address range.
class Addresses {
 public:
  explicit Addresses(std::size_t bytes) : bytes_(bytes), mapped_(internal::os::reserve(bytes)) {
    if (mapped_.error != 0) ADD_FAILURE() << "reserve: errno " << mapped_.error;
  }
  ~Addresses() { EXPECT_EQ(internal::os::unmap(mapped_.at, bytes_), 0); }
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;

  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::byte* at(std::size_t offset = 0) const { return mapped_.at + offset; }
  /// The first address in it that is a multiple of this many bytes.
  [[nodiscard]] std::byte* at_multiple_of(std::size_t align) const {
    return at((align - reinterpret_cast<std::uintptr_t>(at()) % align) % align);
  }

 private:
  std::size_t bytes_;
  internal::os::Mapped mapped_;
};

/// Ordinary pages that can be written and have not been touched.
class FreshPages : public Addresses {
 public:
  explicit FreshPages(std::size_t pages) : Addresses(pages * kPage) {
    EXPECT_EQ(internal::os::allow_write(at(), bytes()), 0);
    // A kernel without huge pages refuses this.
    EXPECT_EQ(internal::os::advise(at(), bytes(), internal::os::Advice::no_huge_pages) & ~EINVAL,
              0);
  }

  [[nodiscard]] std::byte* page(std::size_t number) const { return at(number * kPage); }
  void touch(std::size_t number) const { *page(number) = std::byte{1}; }
};

}  // namespace tapedeck::tests
