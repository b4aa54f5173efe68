/// @file
/// Debian's Prometheus, which scrapes one address every half second.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "os/temp_folder.hpp"
#include "telemetry/http.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {

/// A series as `name{label="value",...}`, its labels in order, and its value.
using Series = std::map<std::string, double>;

class Prometheus {
 public:
  /// Its data is in a folder of its own, and it ends with the test, however that ends.
  explicit Prometheus(const std::string& target) : port_(free_port()), id_(start(target)) {}
  ~Prometheus() {
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  Prometheus(const Prometheus&) = delete;
  Prometheus& operator=(const Prometheus&) = delete;

  /// All of our series, as its API tells them; waits up to a minute for the first scrape.
  [[nodiscard]] Series series() const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < deadline) {
      Series found = query("%7B__name__%3D~%22tapedeck_.%2B%22%7D");
      if (!found.empty()) return found;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    ADD_FAILURE() << "nothing was scraped: " << shell("tail -5 " + (folder_ / "log").string()).text;
    return {};
  }

 private:
  [[nodiscard]] pid_t start(const std::string& target) const {
    const auto config = folder_.write("prometheus.yml",
                                      "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
                                      "scrape_configs:\n"
                                      "  - job_name: tapedeck\n"
                                      "    static_configs: [{targets: ['" +
                                          target + "']}]\n");
    const std::string program = prometheus_program("prometheus");
    const std::string config_word = "--config.file=" + config.string();
    const std::string data = "--storage.tsdb.path=" + (folder_ / "data").string();
    const std::string listen = "--web.listen-address=127.0.0.1:" + std::to_string(port_);
    const std::string log = (folder_ / "log").string();
    const pid_t id = ::fork();
    if (id != 0) return id;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execlp(program.c_str(), "prometheus", config_word.c_str(), data.c_str(), listen.c_str(),
             nullptr);
    ::_exit(127);
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
        name += (name.ends_with('{') ? "" : ",") + label + "=\"" + value.get<std::string>() + "\"";
      }
      found[name + "}"] = std::stod(one.at("value").at(1).get<std::string>());
    }
    return found;
  }

  TempFolder folder_;
  std::uint16_t port_;
  pid_t id_;
};

}  // namespace tapedeck::tests
