// SPDX-License-Identifier: Apache-2.0
/// @file
/// Where tests find files: those of this source tree, those that the build produced, and real files
/// beside the checkout. No path is compiled in, so the same sources produce the same objects in any
/// folder, and a folder of test programs can be copied to another machine.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace tapedeck::tests {

/// The path of a file of the folder tests/, given relative to it. CTest starts tests in the root of
/// the checkout. A missing file is an error, never a reason to skip.
[[nodiscard]] inline std::filesystem::path source_path(const std::string& name) {
  std::filesystem::path path = std::filesystem::absolute("tests") / name;
  if (!std::filesystem::exists(path)) {
    throw std::runtime_error("missing file " + path.string() +
                             "; run from the root of the checkout");
  }
  return path;
}

/// The path of a file that the build put beside the running program.
[[nodiscard]] inline std::filesystem::path built_path(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

/// The path of a real file, or of a folder of them, in $TAPEDECK_TEST_DATA if that is set, or else
/// beside the checkout. A machine may lack these files; tests that need one are then skipped.
[[nodiscard]] inline std::filesystem::path shared_data(const std::string& name) {
  const char* const folder = std::getenv("TAPEDECK_TEST_DATA");
  return std::filesystem::path(folder == nullptr ? "../shared/data" : folder) / name;
}

}  // namespace tapedeck::tests
