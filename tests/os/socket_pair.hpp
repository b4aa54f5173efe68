// SPDX-License-Identifier: Apache-2.0
/// @file
/// Two sockets over which processes pass descriptors.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>

#include "os/descriptor.hpp"

namespace tapedeck::tests {

/// A connected pair of Unix sockets.
class SocketPair {
 public:
  SocketPair() : SocketPair(SOCK_STREAM) {}
  /// @param type  SOCK_STREAM, or SOCK_SEQPACKET, which keeps messages of 0 bytes.
  explicit SocketPair(int type) {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()), 0);
    for (std::size_t i = 0; i < 2; ++i) ends_[i] = internal::os::Descriptor(ends[i]);
  }
  [[nodiscard]] int operator[](std::size_t end) const { return ends_[end].get(); }
  void close(std::size_t end) { ends_[end] = {}; }

 private:
  std::array<internal::os::Descriptor, 2> ends_;
};

}  // namespace tapedeck::tests
