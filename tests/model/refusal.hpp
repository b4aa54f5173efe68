// SPDX-License-Identifier: Apache-2.0
/// @file
/// How a reader refused a file.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>

#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {

/// The fields of a `FormatError`.
struct Refusal {
  std::uint64_t offset = 0;
  std::string field{};
  FormatFault fault = FormatFault::malformed;
  std::string text{};  ///< For people; not compared.

  friend bool operator==(const Refusal& a, const Refusal& b) {
    return a.offset == b.offset && a.field == b.field && a.fault == b.fault;
  }
  friend std::ostream& operator<<(std::ostream& out, const Refusal& refusal) {
    return out << "byte " << refusal.offset << ", \"" << refusal.field
               << "\": " << to_string(refusal.fault) << ". " << refusal.text;
  }
};

/// Returns how `read` refuses its input, or `nullopt` if it accepts it.
[[nodiscard]] std::optional<Refusal> refusal_of(const std::invocable auto& read) {
  try {
    static_cast<void>(read());
    return std::nullopt;
  } catch (const FormatError& error) {
    return Refusal{error.offset(), error.field(), error.fault(), error.what()};
  }
}

[[nodiscard]] inline std::optional<Refusal> refusal_of(const std::filesystem::path& path) {
  return refusal_of([&] { return read_model(path); });
}

}  // namespace tapedeck::tests
