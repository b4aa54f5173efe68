/// @file
/// What a report writes for browsers.
#pragma once

#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::report {

/// A hash in hexadecimal digits as browsers want it.
[[nodiscard]] std::string base64_of_hex(std::string_view digits);

}  // namespace tapedeck::internal::report
