/// @file
/// "127.0.0.1:9464", taken apart.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

struct HostPort {
  std::string host;  ///< Without the brackets of an IPv6 address; "127.0.0.1" where none was given.
  std::uint16_t port;
};

/// @throws InvalidArgument where it is none.
[[nodiscard]] HostPort parse_host_port(std::string_view text);

}  // namespace tapedeck::internal
