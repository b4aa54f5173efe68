/// @file
/// Names and figures as a report shows them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::report {

/// A name out of a recording: at most 120 bytes of it, and no control characters. Not yet escaped
/// for HTML.
[[nodiscard]] std::string shown(std::string_view name);

/// "12.3 ms", "4 min 05 s".
[[nodiscard]] std::string time_text(std::uint64_t microseconds);

/// A hash in hexadecimal digits as browsers want it.
[[nodiscard]] std::string base64_of_hex(std::string_view digits);

}  // namespace tapedeck::internal::report
