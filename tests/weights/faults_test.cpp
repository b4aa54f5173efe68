// SPDX-License-Identifier: Apache-2.0
// The life of weights with each of its system calls failing in turn. The failure is reported, or
// another method is used, and bytes are never wrong.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "os/fault_sweep.hpp"
#include "os/ring.hpp"
#include "os/self.hpp"
#include "os/socket_pair.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"
#include "tapedeck/weights/weights_builder.hpp"
#include "weights/made_models.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

namespace fs = std::filesystem;

void add_unknown(Complaints& all, const std::string& what, bool known) {
  if (!known) all.push_back(what + ": unknown");
}

void add_residency(Complaints& all, const Weights& weights) {
  const WeightsResidency residency = weights.residency();
  add_unknown(all, "present", residency.present.has_value());
  add_unknown(all, "huge", residency.huge.has_value());
  add_unknown(all, "swapped", residency.swapped.has_value());
  add_unknown(all, "cached", residency.cached.has_value());
  add_unknown(all, "dirty", residency.dirty.has_value());
  add_unknown(all, "nodes", !residency.nodes.empty());
}

void add_warm(Complaints& all, const WarmResult& result) {
  if (!result) all.emplace_back(to_string(result.end));
  add_unknown(all, "present of the warm", result.present.has_value());
  add_unknown(all, "huge of the warm", result.huge.has_value());
}

void add_unmet(Complaints& all, const Weights& weights) {
  for (const Unmet& one : weights.unmet()) all.push_back(one.text);
}

Complaints life_of(const fs::path& path, Way way) {
  make_cold_again(path);
  Complaints all;
  Weights weights = Weights::open(path, {.way = way});
  all.push_back("way " + std::string(to_string(weights.files()[0].way)));
  add_warm(all, weights.warm({.threads = 1}));
  EXPECT_TRUE(all_right(weights));
  add_residency(all, weights);
  static_cast<void>(weights.lock());
  add_unmet(all, weights);
  if (weights.decommit() == 0) all.emplace_back("nothing was given back");
  add_warm(all, weights.warm({.threads = 1}));
  EXPECT_TRUE(all_right(weights));
  return all;
}

// Calls that only measure something, or that have an alternative.
std::set<std::string> silent() {
  std::set<std::string> calls = {"open",  "pread",          "cachestat",      "fstatfs", "mincore",
                                 "ioctl", "io_uring_setup", "io_uring_enter", "lseek",   "statx"};
  if (kSanitized) calls.insert("munlock");  // a sanitizer's mlock does nothing
  return calls;
}

class WeightsFaults : public ::testing::TestWithParam<std::tuple<Way, int>> {
 protected:
  [[nodiscard]] static Way way() { return std::get<0>(GetParam()); }
  [[nodiscard]] static int error() { return std::get<1>(GetParam()); }

  TempFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(WayAndErrno, WeightsFaults,
                         ::testing::Combine(::testing::ValuesIn(kWays),
                                            ::testing::ValuesIn(sweep_errors({ENOMEM, EPERM, EINTR,
                                                                              EIO}))),
                         [](const auto& one) {
                           return std::string(to_string(std::get<0>(one.param))) + "_" +
                                  errno_name(std::get<1>(one.param));
                         });

TEST_P(WeightsFaults, OpenWarmAskLockGiveBackAndWarmAgain) {
  const fs::path path =
      make_file(folder_, "a.safetensors", {.sizes = {70'000, 0, 5, 100'003}, .skew = 3});
  store_and_make_cold(path);
  const Work work = {.run = [&] { return life_of(path, way()); }, .silent = silent()};
  EXPECT_GE(sweep(work, error()), 40U);
}

TEST_P(WeightsFaults, ModelOfTwoFiles) {
  const fs::path index =
      make_files(folder_, {{.sizes = {20'000}}, {.sizes = {20'000}, .first = 1}});
  const auto run = [&] {
    Weights weights = Weights::open(index, {.way = way()});
    Complaints all;
    for (const WeightsFile& file : weights.files()) all.emplace_back(to_string(file.way));
    add_warm(all, weights.warm({.threads = 1}));
    EXPECT_TRUE(all_right(weights));
    add_unmet(all, weights);
    return all;
  };
  EXPECT_GE(sweep({.run = run, .silent = silent()}, error()), 30U);
}

/// How often each call was made to fail.
using Victims = std::multiset<std::string>;

/// Runs `work` with each of its calls failing in turn. The named calls have alternatives, so the
/// work must still succeed, with the same outcome.
Victims expect_done_without(const std::set<std::string>& names, int error, const Work& work) {
  static_cast<void>(work.run());
  const Complaints usual = work.run();
  Victims victims;
  for (std::uint64_t k = 1; k < 1000; ++k) {
    const Run run = run_with_fault(work, k, error);
    if (!run.fired) return victims;
    if (!names.contains(run.victim)) continue;
    victims.insert(run.victim);
    EXPECT_EQ(run.error, "") << "call " << k << ", " << run.victim;
    EXPECT_EQ(run.complaints, usual) << "call " << k << ", " << run.victim;
  }
  ADD_FAILURE() << "the sweep did not end after a thousand calls";
  return victims;
}

// Weights of one chunk, so that the order of calls does not depend on time: between chunks, the
// budget may or may not be checked again.
Complaints warm_once(const fs::path& path, Way way) {
  make_cold_again(path);
  Weights weights = Weights::open(path, {.way = way});
  Complaints all = {to_string(weights.files()[0].way)};
  add_warm(all, weights.warm({.threads = 1}));
  EXPECT_TRUE(all_right(weights));
  add_unmet(all, weights);
  return all;
}

class WeightsFallBack : public ::testing::Test {
 protected:
  WeightsFallBack() { store_and_make_cold(path_); }

  TempFolder folder_;
  fs::path path_ = make_file(folder_, "a.safetensors", {.sizes = {1_MiB, 1_MiB}});
};

TEST_F(WeightsFallBack, ReadsWithoutARing) {
  if (!os::Ring::make(1)) GTEST_SKIP() << "this host has no io_uring";
  if (Weights::open(path_, {.way = Way::direct}).files()[0].way != Way::direct) {
    GTEST_SKIP() << "this file system has no direct reads";
  }
  for (const int error : {ENOSYS, EBUSY}) {
    const Victims victims =
        expect_done_without({"io_uring_setup", "io_uring_enter"}, error,
                            {.run = [&] { return warm_once(path_, Way::direct); }});
    EXPECT_EQ(victims.count("io_uring_setup"), 2U) << "once to try it, and once to use it";
    EXPECT_EQ(victims.count("io_uring_enter"), 1U);
  }
}

// As on a kernel before 5.14, which refuses to populate.
TEST_F(WeightsFallBack, TouchesPagesWithoutPopulate) {
  const Victims victims =
      expect_done_without({"madvise"}, EINVAL, {.run = [&] { return warm_once(path_, Way::map); }});
  EXPECT_EQ(victims.count("madvise"), 1U);
}

class SharedFaults : public ::testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Errno, SharedFaults,
                         ::testing::ValuesIn(sweep_errors({ENOMEM, EPERM, EINTR, EIO})),
                         [](const auto& number) { return errno_name(number.param); });

TEST_P(SharedFaults, BuildSealAdoptAndWarm) {
  const auto run = [] {
    Complaints all;
    const Weights owner = build_patterned({70'000, 5}).seal();
    Weights weights = Weights::adopt(owner.descriptor());
    add_warm(all, weights.warm({.threads = 1}));
    EXPECT_TRUE(all_right(weights));
    add_residency(all, weights);
    static_cast<void>(weights.lock());
    add_unmet(all, owner);
    add_unmet(all, weights);
    return all;
  };
  EXPECT_GE(
      sweep({.run = run,
             .silent = {"open", "pread", "fstatfs", "cachestat", "mincore", "ioctl", "madvise"}},
            GetParam()),
      20U);
}

// If only sealing fails, nothing is lost, and sealing can be tried again.
TEST_P(SharedFaults, SealingIsTriedAgain) {
  for (std::uint64_t k = 1; k < 100; ++k) {
    WeightsBuilder builder = build_patterned({70'000, 5});
    std::optional<Weights> weights;
    bool fired = false;
    {
      const os::InjectFault fault(k, GetParam());
      try {
        weights = std::move(builder).seal();
      } catch (const SystemError& error) {
        EXPECT_EQ(error.number(), GetParam());
      }
      fired = os::InjectFault::fired();
    }
    // NOLINTNEXTLINE(bugprone-use-after-move): a seal that fails leaves the builder as it was
    if (!weights) weights = std::move(builder).seal();
    EXPECT_TRUE(all_right(*weights));
    if (!fired) return;
  }
  ADD_FAILURE() << "the sweep did not end after a hundred calls";
}

TEST_P(SharedFaults, SendAndReceive) {
  const Weights owner = build_patterned({70'000, 5}).seal();
  const auto run = [&]() -> Complaints {
    const SocketPair sockets;
    owner.send(sockets[0]);
    const Weights weights = Weights::receive(sockets[1]);
    EXPECT_TRUE(all_right(weights));
    return {};
  };
  EXPECT_GE(sweep({.run = run, .silent = {"madvise"}}, GetParam()), 8U);
}

}  // namespace
}  // namespace tapedeck::tests
