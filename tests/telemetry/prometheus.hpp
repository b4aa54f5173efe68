// SPDX-License-Identifier: Apache-2.0
/// @file
/// Debian's Prometheus, scraping one address every half second.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "os/temp_folder.hpp"
#include "telemetry/daemon.hpp"
#include "telemetry/http.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {

class Prometheus {
 public:
  /// Its data is in a separate folder.
  explicit Prometheus(const std::string& target)
      : port_(free_port()), daemon_(words(target), folder_ / "log") {}

  /// Returns all of our series from its API. Waits up to a minute for the first scrape.
  [[nodiscard]] Series series() const {
    Series found;
    EXPECT_TRUE(comes_true([&] {
      found = query("%7B__name__%3D~%22tapedeck_.%2B%22%7D");
      return !found.empty();
    })) << "nothing was scraped: "
        << daemon_.said();
    return found;
  }

 private:
  [[nodiscard]] std::vector<std::string> words(const std::string& target) const {
    const auto config = folder_.write("prometheus.yml",
                                      "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
                                      "scrape_configs:\n"
                                      "  - job_name: tapedeck\n"
                                      "    static_configs: [{targets: ['" +
                                          target + "']}]\n");
    return {prometheus_program("prometheus"), "--config.file=" + config.string(),
            "--storage.tsdb.path=" + (folder_ / "data").string(),
            "--web.listen-address=127.0.0.1:" + std::to_string(port_)};
  }
  [[nodiscard]] Series query(const std::string& expression) const {
    const std::string answer = http_get(port_, "/api/v1/query?query=" + expression);
    if (answer.empty()) return {};
    Series found;
    const nlohmann::json json = nlohmann::json::parse(answer, nullptr, false);
    if (json.is_discarded()) return {};
    for (const nlohmann::json& one : json.at("data").at("result")) {
      std::string name = one.at("metric").at("__name__").get<std::string>() + "{";
      for (const auto& [label, value] : one.at("metric").items()) {
        if (label == "__name__" || label == "job" || label == "instance") continue;
        // JSON escapes the same characters as the exposition format.
        name += (name.ends_with('{') ? "" : ",") + label + "=" + value.dump();
      }
      found[name.ends_with('{') ? name.substr(0, name.size() - 1) : name + "}"] =
          std::stod(one.at("value").at(1).get<std::string>());
    }
    return found;
  }

  TempFolder folder_;
  std::uint16_t port_;
  Daemon daemon_;
};

}  // namespace tapedeck::tests
