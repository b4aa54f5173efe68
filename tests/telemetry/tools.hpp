// SPDX-License-Identifier: Apache-2.0
/// @file
/// Third-party programs that check what is exported, and a layout that has some of everything.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "layout/cache_region.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/snapshot/snapshot.hpp"

namespace tapedeck::tests {

/// The output of a shell command (both streams), and its exit code.
struct Said {
  int exit_code = -1;
  std::string text{};
};

[[nodiscard]] inline Said shell(const std::string& command) {
  std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return {};
  Said said;
  std::array<char, 4096> part{};
  for (std::size_t got = 0; (got = std::fread(part.data(), 1, part.size(), pipe)) != 0;) {
    said.text.append(part.data(), got);
  }
  const int status = ::pclose(pipe);
  said.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return said;
}

[[nodiscard]] inline std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Waits up to a minute for a condition.
template <class Condition>
[[nodiscard]] bool comes_true(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// The path of a program of Debian's package prometheus, which `./dev test --servers` puts in the
/// PATH. Empty if it is not there.
[[nodiscard]] inline std::string prometheus_program(const std::string& name) {
  return shell("command -v " + name).exit_code == 0 ? name : "";
}

/// Values by `name{label="value",...}`, with the labels in order.
using Series = std::map<std::string, double>;

/// The series of a text exposition. No series may appear twice.
[[nodiscard]] inline Series series_of(const std::string& exposition) {
  Series all;
  for (const std::string& line : split_lines(exposition)) {
    if (line.starts_with("# ")) continue;
    const std::size_t end = line.rfind(' ');
    EXPECT_TRUE(all.emplace(line.substr(0, end), std::stod(line.substr(end + 1))).second) << line;
  }
  return all;
}

/// The series whose names begin with a prefix.
[[nodiscard]] inline Series beginning_with(const std::string& name, Series all) {
  std::erase_if(all, [&](const auto& one) { return !one.first.starts_with(name); });
  return all;
}

/// The sizes of a layout that is observed.
inline constexpr LayoutSizes kSizes = {.weights = 4_MiB, .scratch = 4_MiB, .history = 4_MiB};

/// Two talks on the host and on two host-memory devices, with something in every tape, and a pass
/// in two nested phases.
struct BusyLayout {
  BusyLayout() {
    const PhaseScope outer(phases, "talk");
    for (std::size_t talk = 0; talk < 2; ++talk) {
      layout.talk(talk).prepare(10);
      layout.talk(talk).advance(talk + 3);
      layout.gpu(1).talk(talk).prepare(5);
      layout.gpu(1).talk(talk).advance(5);
    }
    pass();
    layout.clear_talk(1);
    (void)layout.scratch().take(5'000);
    (void)layout.scratch().try_take(1_GiB);
  }

  [[nodiscard]] static Plan plan() {
    Plan plan;
    plan.talks = 2;
    plan.weights.append({.name = "w", .role = RegionRole::weight, .bytes = 2_MiB});
    plan.history.append(cache_region("layers.0.k", RegionRole::kv, 1024, 1024));
    return plan;
  }

  /// Everything that a snapshot can have.
  [[nodiscard]] SnapshotOptions everything() const {
    return {.talks = true, .devices = true, .process = ProcessOptions(), .phases = &phases};
  }
  [[nodiscard]] Snapshot snapshot(const std::string& name) const {
    return snapshot_of(layout, name, everything());
  }

  void pass() {
    const PhaseScope prefill(phases, "prefill");
    (void)layout.scratch().take(10'000);
    layout.clear_pass();
  }

  HostDevice first{{.memory = 64_MiB}};
  HostDevice second{{.memory = 32_MiB}};
  Layout layout{plan(),
                {.commit = Commit::with_talks,
                 .extra = {.weights = 0, .scratch = 1_MiB, .history = 0},
                 .gpus = {{.device = &first, .options = {.commit = Commit::with_talks}},
                          {.device = &second, .options = {.commit = Commit::with_talks}}}}};
  Phases phases{layout};
};

}  // namespace tapedeck::tests
