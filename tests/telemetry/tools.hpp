/// @file
/// Other people's programs, as judges of what is exported; a layout that has some of everything.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "layout/cache_region.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"

namespace tapedeck::tests {

/// What a shell command said on both outputs, and its exit code.
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

/// A program of Debian's package prometheus, which `./dev test --servers` puts in the PATH. Empty
/// where there is none.
[[nodiscard]] inline std::string prometheus_program(const std::string& name) {
  return shell("command -v " + name).exit_code == 0 ? name : "";
}

/// Two talks on the host and on two devices of host memory, with something in every tape, and a
/// pass in a phase inside another.
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
