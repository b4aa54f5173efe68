// SPDX-License-Identifier: Apache-2.0
/// @file
/// Returns why a function throws InvalidArgument, as a value.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {

/// The fields of an InvalidArgument.
struct Refused {
  std::string argument = "accepted";
  std::optional<std::uint64_t> value{};
  std::optional<std::uint64_t> limit{};

  friend bool operator==(const Refused&, const Refused&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Refused& refused) {
    const auto text = [](auto figure) { return figure ? std::to_string(*figure) : "-"; };
    return out << refused.argument << ' ' << text(refused.value) << ' ' << text(refused.limit);
  }
};

/// A value that does not fit in 64 bits.
inline const Refused kTooLarge = {"the plan"};

[[nodiscard]] Refused refused(const auto& work) {
  try {
    static_cast<void>(work());  // the result may be [[nodiscard]]
  } catch (const InvalidArgument& error) {
    return {error.argument(), error.value(), error.limit()};
  }
  return {};
}

}  // namespace tapedeck::tests
