// SPDX-License-Identifier: Apache-2.0
/// @file
/// Listening TCP sockets.
#pragma once

#include <cstdint>
#include <string>

#include "os/descriptor.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

struct Listening {
  Descriptor socket{};    ///< Empty if it failed.
  std::string address{};  ///< In numeric form: "127.0.0.1:9464", "[::1]:9464".
  std::string why{};      ///< For people, if the host could not be resolved.
  int error = 0;          ///< errno, if it cannot listen at the address.
  const char* call = "";  ///< The call that failed with `error`.
};

/// Listens at an address of `host`, preferably an IPv4 address. Port 0 selects any free port.
[[nodiscard]] Listening listen_at(const std::string& host, std::uint16_t port);

}  // namespace tapedeck::internal::os
