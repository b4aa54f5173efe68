// SPDX-License-Identifier: Apache-2.0
// Readers in other processes, while a layout is published at full speed.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "telemetry/published.hpp"

namespace tapedeck::tests {
namespace {

constexpr int kReads = 20'000;
constexpr int kProcesses = 3;

/// Returns "" if the record is one that was published.
std::string fault_of(const Stat& stat) {
  for (const TapeStat* const tape : {&stat.weights, &stat.scratch, &stat.history}) {
    if (tape->used > tape->peak || tape->peak > tape->reserved) return "used, peak and reserved";
  }
  // Each pass clears scratch, and takes 64 bytes from the history.
  if (stat.passes != stat.scratch.clears) return "passes and clears";
  if (stat.history.used != stat.passes * 64) return "passes and takes";
  return "";
}

/// Returns the first torn record that a reader has seen.
std::string read_all(const std::filesystem::path& path) {
  const StatReader reader(path);
  std::uint64_t passes = 0;
  std::uint64_t publishes = 0;
  // Only after something new was published, however late the publisher gets there.
  for (int i = 0; i < kReads || passes == 0; ++i) {
    const auto now = reader.read();
    if (!now) continue;  // can happen if all share one processor
    if (std::string fault = fault_of(now->stat); !fault.empty()) return "torn: " + fault;
    if (now->stat.passes < passes || now->publishes < publishes) return "torn: it went back";
    passes = now->stat.passes;
    publishes = now->publishes;
  }
  return "";
}

using StatReaders = InSharedMemory;

TEST_F(StatReaders, SeeNoTornRecord) {
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 256_MiB});
  StatPublisher publisher(layout, "chat", folder_.path());
  // Forked before any thread exists.
  std::vector<std::unique_ptr<Child>> processes;
  processes.reserve(kProcesses);
  for (int i = 0; i < kProcesses; ++i) {
    processes.push_back(
        std::make_unique<Child>([&] { EXPECT_EQ(read_all(publisher.path()), ""); }));
  }
  std::atomic<bool> reading = true;
  std::thread waiter([&] {
    for (const auto& process : processes) EXPECT_TRUE(passed(process->wait()));
    reading = false;
  });
  while (reading) {
    (void)layout.scratch().take(layout.stat().passes % 5'000);
    if (layout.history().try_take(64) == nullptr) break;
    layout.clear_pass();
    publisher.publish();
  }
  waiter.join();
}

}  // namespace
}  // namespace tapedeck::tests
