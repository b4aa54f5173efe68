// SPDX-License-Identifier: Apache-2.0
/// @file
/// The figures of those sections of `gpu_probe` that are not benchmarks, as JSON.
#pragma once

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "probe.hpp"

namespace tapedeck::gpu_kit {

using Json = nlohmann::ordered_json;

class Report {
 public:
  /// Takes `--json=FILE` out of the arguments.
  explicit Report(Arguments& arguments)
      : path_(compare::take_value(arguments, "--json=").value_or("")) {}

  /// Returns false and prints a message if there are arguments left.
  [[nodiscard]] static bool accepts(const Arguments& arguments) {
    if (arguments.size() <= 1) return true;
    std::fprintf(stderr, "unknown argument %s\n", arguments[1]);
    return false;
  }

  [[nodiscard]] Json& operator[](const char* name) { return json_[name]; }
  [[nodiscard]] const Json& json() const { return json_; }

  /// Writes the file, if one was requested. Returns main's exit code.
  [[nodiscard]] int write() const {
    if (path_.empty()) return 0;
    std::ofstream out(path_);
    out << json_.dump(1, ' ', false, Json::error_handler_t::replace) << '\n';
    out.close();
    if (out) return 0;
    std::fprintf(stderr, "cannot write %s\n", path_.c_str());
    return 1;
  }

 private:
  std::string path_;
  Json json_ = Json::object();
};

}  // namespace tapedeck::gpu_kit
