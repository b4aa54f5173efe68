/// @file
/// TCP addresses to listen at.
#pragma once

#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

struct ListenAddress {
  std::string text{};     ///< In digits: "127.0.0.1:9464", "[::1]:9464".
  std::string why{};      ///< For people, where the host is none.
  int error = 0;          ///< errno, where one cannot listen there now,
  const char* call = "";  ///< and whose it is.
};

/// Looks a host up, its IPv4 address first, and tries whether one can listen at that port; 0 is any
/// port.
[[nodiscard]] ListenAddress find_listen_address(const std::string& host, std::uint16_t port);

/// Connects, and is gone: wakes whoever waits for somebody at an address of this host.
void knock(const std::string& host, std::uint16_t port);

}  // namespace tapedeck::internal::os
