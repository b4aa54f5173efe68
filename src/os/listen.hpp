/// @file
/// TCP sockets that listen.
#pragma once

#include <cstdint>
#include <string>

#include "os/descriptor.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

struct Listening {
  Descriptor socket{};    ///< None where it failed.
  std::string address{};  ///< In digits: "127.0.0.1:9464", "[::1]:9464".
  std::string why{};      ///< For people, where the host has no address.
  int error = 0;          ///< errno, where one cannot listen there now,
  const char* call = "";  ///< and the call that failed with it.
};

/// Listens at an address of `host`, an IPv4 address if it has one. Port 0 is any free port.
[[nodiscard]] Listening listen_at(const std::string& host, std::uint16_t port);

}  // namespace tapedeck::internal::os
