// SPDX-License-Identifier: Apache-2.0
// Every path by which this library makes memory resident, within every limit. What a limit has no
// room for must be refused with the name of that limit, also if two threads ask at once. Otherwise
// the kernel kills the process.
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <ostream>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "limits/resident_memory.hpp"
#include "os/child.hpp"
#include "os/memory_cgroup.hpp"
#include "os/resident_ledger.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"
#include "tapedeck/weights/weights.hpp"
#include "tapedeck/weights/weights_builder.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

/// How a path ended: empty if it made all memory resident, otherwise what refused it.
using Refusal = std::string;

Refusal of(const WarmResult& result) { return result ? "" : result.limit; }

Refusal of_lock(const std::vector<Unmet>& unmet) {
  for (const Unmet& one : unmet) {
    if (one.wish == Wish::lock) return one.text;
  }
  return "";
}

Refusal create_tape(std::size_t bytes) {
  Tape tape = Tape::start(bytes);
  fill(tape.take<std::byte>(bytes));
  return "";
}

// The kernel then touches each page that becomes usable.
Refusal create_tape_in_locked_process(std::size_t bytes) {
  struct Locked {
    Locked() { static_cast<void>(::mlockall(MCL_FUTURE)); }
    ~Locked() { static_cast<void>(::munlockall()); }
  };
  static std::mutex one_at_a_time;  // the lock is the process's
  const std::lock_guard lock(one_at_a_time);
  const Locked locked;
  return create_tape(bytes);
}

Refusal grow_tape(std::size_t bytes) {
  Tape tape = Tape::start(bytes, {.commit_step = 1_MiB});
  for (std::size_t taken = 0; taken < bytes; taken += 1_MiB) {
    tape.prepare(1_MiB);
    fill(tape.take<std::byte>(1_MiB));
  }
  return "";
}

Refusal start_warm(std::size_t bytes) {
  static_cast<void>(Tape::start_warm(bytes, {}, {.threads = 2, .chunk = 1_MiB}));
  return "";
}

Refusal split_tape(std::size_t bytes) {
  Tape tape = Tape::start(bytes, {.commit_step = 1_MiB});
  for (Tape& child : tape.split(4)) fill(child.take<std::byte>(child.total()));
  return "";
}

Refusal commit_shared(std::size_t bytes) {
  Block block = Block::create_shared(bytes);
  block.commit(bytes);
  fill({block.data(), bytes});
  return "";
}

// Memory that another process created, and did not write.
Refusal open_shared(std::size_t bytes) {
  const Block owner = Block::create_shared(bytes);
  const Block block = Block::open_shared(owner.descriptor(), true);
  fill({block.data(), block.size()});
  return "";
}

Refusal warm_overcommitted(std::size_t bytes) {
  Block block = Block::reserve(bytes, {.overcommit = true});
  block.commit(bytes);
  return of(block.warm(0, bytes, {.threads = 2}));
}

Refusal lock_as_committed(std::size_t bytes) {
  Block block = Block::reserve(bytes, {.lock = true, .overcommit = true});
  block.commit(bytes / 2);
  block.commit(bytes);
  return of_lock(block.unmet());
}

Refusal lock_later(std::size_t bytes) {
  Block block = Block::reserve(bytes, {.overcommit = true});
  block.commit(bytes);
  static_cast<void>(block.lock());
  return of_lock(block.unmet());
}

Refusal warm_borrowed(std::size_t bytes) {
  const OtherMemory memory(bytes);
  return of(Block::borrow(memory.bytes()).warm(0, bytes, {.threads = 2}));
}

Refusal lock_borrowed(std::size_t bytes) {
  const OtherMemory memory(bytes);
  Block block = Block::borrow(memory.bytes());
  static_cast<void>(block.lock());
  return of_lock(block.unmet());
}

Refusal create_layout(std::size_t bytes) {
  Layout layout({.weights = 64, .scratch = bytes / 4, .history = bytes / 4 * 3});
  fill(layout.scratch().take<std::byte>(bytes / 4));
  fill(layout.history().take<std::byte>(bytes / 4 * 3));
  return "";
}

Refusal create_layout_of_plan(std::size_t bytes) {
  Layout layout(talks_plan(bytes), {.commit = Commit::at_creation});
  for (std::size_t talk = 0; talk < 4; ++talk) {
    fill(layout.history_at<std::byte>(layout.plan().history.regions()[0], talk));
  }
  return "";
}

Refusal prepare_talks_of(std::size_t bytes, LayoutOptions options) {
  options.commit = Commit::nothing;
  Layout layout(talks_plan(bytes), std::move(options));
  for (std::size_t i = 0; i < 4; ++i) {
    Talk talk = layout.talk(i);
    for (std::uint64_t token = 0; token < talk.capacity(); ++token) {
      if (talk.room() == 0) talk.prepare(std::min<std::uint64_t>(256, talk.capacity() - token));
      talk.advance(1);
      fill(talk.row(layout.plan().history.regions()[0], token));
    }
  }
  return "";
}

Refusal prepare_talks(std::size_t bytes) { return prepare_talks_of(bytes, {}); }

Refusal prepare_guarded_talks(std::size_t bytes) {
  return prepare_talks_of(bytes, {.guard_unprepared = true});
}

Refusal prepare_resident_talks(std::size_t bytes) {
  return prepare_talks_of(bytes, {.resident_growth = true});
}

Refusal record(std::size_t bytes) {
  constexpr std::size_t kLeastOfASample = 200;
  Layout layout({.weights = 64, .scratch = 64, .history = 64});
  static_cast<void>(Recorder(layout, {.samples = bytes / kLeastOfASample}));
  return "";
}

Refusal pin(std::size_t bytes) {
  HostDevice device({.memory = 1_MiB});
  const internal::PinnedMemory pinned(device, bytes);
  return "";
}

Refusal build_weights(std::size_t bytes) {
  WeightsBuilder builder({{.name = "a", .dtype = DType::u8, .shape = {bytes}}});
  fill(builder.bytes(0));
  return "";
}

Refusal read_weights(std::size_t bytes) {
  return of(Weights::open(model_of(bytes), {.way = Way::read}).warm({.threads = 2}));
}

Refusal read_weights_directly(std::size_t bytes) {
  return of(Weights::open(model_of(bytes), {.way = Way::direct}).warm({.threads = 2}));
}

Refusal lock_weights(std::size_t bytes) {
  Weights weights = Weights::open(model_of(bytes), {.way = Way::read});
  static_cast<void>(weights.lock());
  return of_lock(weights.unmet());
}

struct Path {
  const char* name;
  Refusal (*go)(std::size_t bytes);
  bool maps = true;         ///< False if the caller has mapped the memory.
  bool grows_used = false;  ///< It touches each part before it asks for the next one.

  friend void PrintTo(const Path& path, std::ostream* out) { *out << path.name; }
};

constexpr std::array kPaths = {Path{"CreateTape", create_tape},
                               Path{"CreateTapeLocked", create_tape_in_locked_process, false},
                               Path{"GrowTape", grow_tape, true, true},
                               Path{"StartWarm", start_warm},
                               Path{"SplitTape", split_tape},
                               Path{"CommitShared", commit_shared},
                               Path{"OpenShared", open_shared},
                               Path{"WarmOvercommitted", warm_overcommitted},
                               Path{"LockAsCommitted", lock_as_committed},
                               Path{"LockLater", lock_later},
                               Path{"WarmBorrowed", warm_borrowed, false},
                               Path{"LockBorrowed", lock_borrowed, false},
                               Path{"CreateLayout", create_layout},
                               Path{"CreateLayoutOfPlan", create_layout_of_plan},
                               Path{"PrepareTalks", prepare_talks, true, true},
                               Path{"PrepareGuardedTalks", prepare_guarded_talks, true, true},
                               Path{"PrepareResidentTalks", prepare_resident_talks, true, true},
                               Path{"Record", record},
                               Path{"Pin", pin},
                               Path{"BuildWeights", build_weights},
                               Path{"ReadWeights", read_weights},
                               Path{"ReadWeightsDirectly", read_weights_directly},
                               Path{"LockWeights", lock_weights}};

[[nodiscard]] Refusal refusal_of(const Path& path, std::size_t bytes) {
  try {
    return path.go(bytes);
  } catch (const OutOfMemory& error) {
    return error.limit();
  }
}

void limit(int resource, std::size_t more_than, const char* field) {
  const rlim_t most = number_of("/proc/self/status", field) * 1024 + more_than;
  const rlimit both = {most, most};
  ASSERT_EQ(::setrlimit(static_cast<__rlimit_resource>(resource), &both), 0);
}

class ResidentPaths : public ::testing::TestWithParam<Path> {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
    for (const std::size_t bytes : {kTooMuch, kMoreThanHalf, kFits}) {
      static_cast<void>(model_of(bytes));
    }
  }

  static constexpr std::size_t kTooMuch = 2 * kLimit;
  static constexpr std::size_t kMoreThanHalf = kLimit / 8 * 5;
  static constexpr std::size_t kFits = kLimit / 4;
  // The group long has a program with more runs.
#if defined(TAPEDECK_MANY_RUNS)
  static constexpr int kRuns = 100;
#else
  static constexpr int kRuns = 2;
#endif
};

/// Those that claim all of their memory before they touch any.
class PathsAtOnce : public ResidentPaths {};
/// Those that map their memory themselves.
class PathsThatMap : public ResidentPaths {};

[[nodiscard]] std::vector<Path> paths_with(bool (*has)(const Path&)) {
  std::vector<Path> paths;
  std::ranges::copy_if(kPaths, std::back_inserter(paths), has);
  return paths;
}

std::string name_of(const ::testing::TestParamInfo<Path>& path) { return path.param.name; }

INSTANTIATE_TEST_SUITE_P(, ResidentPaths, ::testing::ValuesIn(kPaths), name_of);
INSTANTIATE_TEST_SUITE_P(, PathsAtOnce, ::testing::ValuesIn(paths_with([](const Path& path) {
                           return !path.grows_used;
                         })),
                         name_of);
INSTANTIATE_TEST_SUITE_P(, PathsThatMap, ::testing::ValuesIn(paths_with([](const Path& path) {
                           return path.maps;
                         })),
                         name_of);

TEST_P(ResidentPaths, InAGroupAreRefusedInsteadOfKilled) {
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  for (int run = 0; run < kRuns; ++run) {
    group.in_group([&] {
      EXPECT_EQ(refusal_of(GetParam(), kFits), "");
      EXPECT_THAT(refusal_of(GetParam(), kTooMuch), ::testing::HasSubstr(group.limit()));
      EXPECT_EQ(refusal_of(GetParam(), kFits), "") << "what was refused must not stay claimed";
    });
  }
}

// Also where this process may not create a group. Here, the group's usage does not grow.
TEST_P(PathsAtOnce, InAGroupOfVersion2AreRefused) {
  const TempFolder host;
  host.write("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 8388608 kB\n");
  host.write("proc/self/cgroup", "0::/a/b\n");
  host.write("sys/fs/cgroup/a/memory.max", std::to_string(kLimit) + "\n");
  host.write("sys/fs/cgroup/a/memory.current", "0\n");
  in_child([&] {
    os::ResidentLedger::read_limits_of({.proc = host / "proc", .sys = host / "sys"});
    EXPECT_EQ(refusal_of(GetParam(), kFits), "");
    EXPECT_THAT(refusal_of(GetParam(), kTooMuch),
                ::testing::HasSubstr("memory cgroup /a, memory.max"));
  });
}

// Each of the two fits, but not both.
TEST_P(ResidentPaths, OfTwoThreadsAreRefusedInsteadOfKilled) {
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  for (int run = 0; run < kRuns; ++run) {
    group.in_group([&] {
      std::barrier together(2);
      std::array<Refusal, 2> refusals;
      const auto go = [&](std::size_t i) {
        together.arrive_and_wait();
        refusals[i] = refusal_of(GetParam(), kMoreThanHalf);
        together.arrive_and_wait();
      };
      {
        const std::jthread other(go, 1);
        go(0);
      }
      for (const Refusal& refusal : refusals) {
        EXPECT_THAT(refusal, ::testing::AnyOf("", ::testing::HasSubstr(group.limit())));
      }
    });
  }
}

TEST_P(PathsThatMap, BeyondTheAddressesOfAProcessAreRefused) {
  in_child([] {
    limit(RLIMIT_AS, kLimit, "VmSize:");
    EXPECT_EQ(refusal_of(GetParam(), kTooMuch), "RLIMIT_AS");
  });
}

}  // namespace
}  // namespace tapedeck::tests
