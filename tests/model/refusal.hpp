/// @file
/// How a file was refused.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {

/// What read_model threw for a file; an empty text where it read it.
struct Refusal {
  std::string text{};
  std::string path{};
  std::uint64_t offset = 0;
  bool format_error = false;
};

[[nodiscard]] inline Refusal refusal_of(const std::filesystem::path& path) {
  try {
    static_cast<void>(read_model(path));
    return {};
  } catch (const FormatError& error) {
    return {
        .text = error.what(), .path = error.path(), .offset = error.offset(), .format_error = true};
  } catch (const std::exception& error) {
    return {.text = error.what()};
  }
}

/// Whether it was refused with a FormatError that names the file, the byte and a reason.
[[nodiscard]] inline ::testing::AssertionResult refused(const std::filesystem::path& path,
                                                        std::uint64_t offset,
                                                        const std::string& reason) {
  const Refusal refusal = refusal_of(path);
  if (refusal.text.empty()) return ::testing::AssertionFailure() << "it was read";
  if (refusal.format_error && refusal.path == path.string() && refusal.offset == offset &&
      refusal.text.find(reason) != std::string::npos) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "byte " << refusal.offset << ": " << refusal.text;
}

}  // namespace tapedeck::tests
