// SPDX-License-Identifier: Apache-2.0
// Limits of a host or a user: addresses, locks, descriptors, memory, files of others. The request
// is refused with an error beforehand, and the process is never killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/thrown.hpp"
#include "os/child.hpp"
#include "os/memory_cgroup.hpp"
#include "os/overlay.hpp"
#include "os/rights.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/made_models.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kLimit = 64_MiB;
constexpr std::uint64_t kTooMuch = kLimit + kLimit / 2;

class WeightsLimits : public ::testing::TestWithParam<Way> {
 protected:
  [[nodiscard]] static WeightsOptions options() {
    return {.way = GetParam(), .huge_pages = HugePages::never};
  }
  [[nodiscard]] fs::path make(std::uint64_t bytes) const {
    fs::path path = make_file(folder_, "a.safetensors", {.sizes = {bytes / 2, 7, bytes / 2}});
    store_and_make_cold(path);
    return path;
  }

  TempFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(Way, WeightsLimits, ::testing::ValuesIn(kWays), name_of_way);

TEST_P(WeightsLimits, TooFewAddressesAreAnErrorThatSaysHowManyWereAsked) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the addresses that this test removes";
  const fs::path path = make(96_MiB);
  in_child([&] {
    limit(RLIMIT_AS, number_of("/proc/self/status", "VmSize:") * 1024 + 64_MiB);
    const NothingLeft check;
    const auto error = thrown<OutOfMemory>([&] { return Weights::open(path, options()); });
    EXPECT_EQ(error.limit(), "RLIMIT_AS");
    EXPECT_GE(error.needed(), 96_MiB);
  });
}

// No thread can be created, because a stack needs addresses. The result is an error, or a warm
// without threads.
TEST_P(WeightsLimits, TooFewAddressesForThreadsAreAnError) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the addresses that this test removes";
  const fs::path path = make(16_MiB);
  in_child([&] {
    Weights weights = Weights::open(path, options());
    limit(RLIMIT_AS, number_of("/proc/self/status", "VmSize:") * 1024);
    try {
      EXPECT_TRUE(weights.warm({.threads = 4}));
      EXPECT_TRUE(all_right(weights));
    } catch (const SystemError& error) {
      EXPECT_EQ(error.call(), "pthread_create");
      EXPECT_EQ(error.number(), EAGAIN);
    }
  });
}

TEST_P(WeightsLimits, ALockBeyondTheLimitIsToldWithBoth) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  const fs::path path = make(8_MiB);
  as_nobody([&] {
    limit(RLIMIT_MEMLOCK, 64_KiB);
    Weights weights = Weights::open(path, options());
    EXPECT_TRUE(weights.warm({.threads = 1}));
    EXPECT_FALSE(weights.lock());
    EXPECT_FALSE(weights.lock());
    ASSERT_EQ(weights.unmet().size(), 1U);
    EXPECT_EQ(weights.unmet()[0].wish, Wish::lock);
    EXPECT_EQ(weights.unmet()[0].error, ENOMEM);
    // Including the pages at both ends, which are shared with a header or with padding.
    EXPECT_EQ(weights.unmet()[0].text, "lock: ENOMEM (requested 8 MiB, limit 64 KiB)");
    EXPECT_EQ(number_of("/proc/self/status", "VmLck:"), 0U);
    EXPECT_TRUE(all_right(weights));
  });
}

// If only some files can be locked, none is.
TEST_P(WeightsLimits, ALockThatEndsHalfwayIsTakenBack) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  const fs::path index = make_files(folder_, {{.sizes = {1_MiB}}, {.sizes = {1_MiB}, .first = 1}});
  as_nobody([&] {
    limit(RLIMIT_MEMLOCK, 1536_KiB);
    Weights weights = Weights::open(index, options());
    EXPECT_FALSE(weights.lock());
    EXPECT_EQ(number_of("/proc/self/status", "VmLck:"), 0U);
  });
}

TEST_P(WeightsLimits, ALockWithinTheLimitIsHadAndGivenBack) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  const fs::path path = make(1_MiB);
  as_nobody([&] {
    limit(RLIMIT_MEMLOCK, 4_MiB);
    Weights weights = Weights::open(path, options());
    EXPECT_TRUE(weights.lock());
    EXPECT_TRUE(weights.unmet().empty());
    EXPECT_GE(number_of("/proc/self/status", "VmLck:") * 1024, 1_MiB);
    EXPECT_TRUE(weights.warm({.threads = 1}));
    EXPECT_TRUE(all_right(weights));
    static_cast<void>(weights.decommit());
    EXPECT_EQ(number_of("/proc/self/status", "VmLck:"), 0U);
    EXPECT_EQ(weights.residency().present.value_or(0), 0U);
  });
}

TEST_P(WeightsLimits, TooFewDescriptorsAreAnErrorThatNamesAFile) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  std::vector<FileToMake> files;
  for (std::size_t part = 0; part < 100; ++part) files.push_back({.sizes = {5000}, .first = part});
  const fs::path index = make_files(folder_, files);
  in_child([&] {
    limit(RLIMIT_NOFILE, 60);
    const NothingLeft check;
    const auto error = thrown<SystemError>([&] { return Weights::open(index, options()); });
    EXPECT_EQ(error.call(), "open");
    EXPECT_EQ(error.number(), EMFILE);
    EXPECT_EQ(fs::path(error.path()).parent_path(), folder_.path());
    EXPECT_THAT(error.advice(), ::testing::HasSubstr("may have 60 files open"));
    EXPECT_THAT(error.advice(), ::testing::HasSubstr("ulimit -n"));
  });
}

// No descriptor is left for /proc, a ring, or anything else that is optional.
TEST_P(WeightsLimits, AWarmNeedsNoFurtherDescriptor) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  const fs::path path = make(16_MiB);
  in_child([&] {
    Weights weights = Weights::open(path, options());
    limit(RLIMIT_NOFILE, static_cast<std::size_t>(::dup(0)));
    const WarmResult result = weights.warm({.threads = 2});
    EXPECT_TRUE(result);
    EXPECT_EQ(result.present, std::nullopt);
    EXPECT_TRUE(all_right(weights));
    EXPECT_EQ(weights.residency().present, std::nullopt);
  });
}

TEST_P(WeightsLimits, AFileThatMayNotBeReadIsAnErrorWithItsPath) {
  const fs::path path = make(1_MiB);
  fs::permissions(path, fs::perms::none);
  as_nobody([&] {
    const NothingLeft check;
    const auto error = thrown<SystemError>([&] { return Weights::open(path, options()); });
    EXPECT_EQ(error.call(), "open");
    EXPECT_EQ(error.number(), EACCES);
    EXPECT_EQ(error.path(), path.string());
  });
}

// To other users the kernel neither reports what is cached of a file nor permits writing it.
TEST_P(WeightsLimits, AFileOfAnotherUserIsLoaded) {
  const fs::path path = make(16_MiB);
  fs::permissions(path, fs::perms(0444));
  as_nobody([&] {
    Weights weights = Weights::open(path, options());
    EXPECT_TRUE(weights.warm({.threads = 2}));
    EXPECT_TRUE(all_right(weights));
  });
}

// A process that may not read its own page table cannot see what is resident.
TEST_P(WeightsLimits, ResidencyIsUnknownWhereTheKernelDoesNotTell) {
  if (!is_root()) GTEST_SKIP() << "only root can become a user that must not read its page table";
  const fs::path path = make(1_MiB);
  as_nobody([&] {
    ASSERT_EQ(::prctl(PR_SET_DUMPABLE, 0), 0);
    Weights weights = Weights::open(path, options());
    const WarmResult result = weights.warm({.threads = 1});
    EXPECT_TRUE(result);
    EXPECT_EQ(result.present, std::nullopt);
    EXPECT_EQ(weights.residency().present, std::nullopt);
  });
}

/// Runs children inside a group of 64 MiB.
class WeightsInGroup : public WeightsLimits {
 protected:
  void SetUp() override {
    if (!group_.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  }
  void in_group(const std::function<void()>& work) const { group_.in_group(work); }
  // With Way::automatic, weights that do not fit would be mapped.
  [[nodiscard]] static WeightsOptions read_or_mapped() {
    WeightsOptions as_asked = options();
    if (as_asked.way == Way::automatic) as_asked.way = Way::read;
    return as_asked;
  }

  MemoryCgroup group_{kLimit};
};

INSTANTIATE_TEST_SUITE_P(Way, WeightsInGroup, ::testing::ValuesIn(kWays), name_of_way);

TEST_P(WeightsInGroup, AModelThatCannotFitIsRefusedBeforehand) {
  const fs::path path = make(kTooMuch);
  in_group([&] {
    Weights weights = Weights::open(path, read_or_mapped());
    WarmJob job = weights.start_warm({.threads = 2});
    EXPECT_FALSE(job.wait_for(2));
    const WarmResult result = job.wait();
    EXPECT_EQ(result.end, WarmEnd::over_budget);
    EXPECT_EQ(result.warmed, 0U);
    EXPECT_GE(result.asked, kTooMuch);
    EXPECT_LE(result.available, kLimit);
    EXPECT_EQ(result.limit, group_.limit());
    EXPECT_EQ(weights.residency().present.value_or(0), 0U);
  });
}

TEST_P(WeightsInGroup, AModelThatFitsIsBroughtIn) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  const fs::path path = make(kLimit / 4);
  in_group([&] {
    Weights weights = Weights::open(path, options());
    const WarmResult result = weights.warm({.threads = 2});
    EXPECT_EQ(result.end, WarmEnd::complete) << result.available << " by " << result.limit;
    EXPECT_TRUE(all_right(weights));
  });
}

// mlock makes all pages resident, and the kernel kills a process that exceeds a group's limit.
TEST_P(WeightsInGroup, ALockThatCannotFitIsRefusedInsteadOfKilled) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  const fs::path path = make(kTooMuch);
  in_group([&] {
    Weights weights = Weights::open(path, read_or_mapped());
    EXPECT_FALSE(weights.lock());
    ASSERT_EQ(weights.unmet().size(), 1U);
    EXPECT_EQ(weights.unmet()[0].wish, Wish::lock);
    EXPECT_TRUE(weights.unmet()[0].text.ends_with(" by " + group_.limit() + ")"));
    EXPECT_EQ(number_of("/proc/self/status", "VmLck:"), 0U);
  });
}

// Its pages are charged to the group of this process, which wrote them.
TEST(CachedWeightsInGroup, NeedNoBudgetToBeMapped) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  const TempFolder folder;
  const fs::path path = make_file(folder, "a.safetensors", {.sizes = {kTooMuch}});
  const WeightsOptions options = {.way = Way::map, .huge_pages = HugePages::never};
  if (!Weights::open(path, options).files()[0].cached) {
    GTEST_SKIP() << "this kernel does not report what is cached";
  }
  group.in_group([&] {
    Weights weights = Weights::open(path, options);
    EXPECT_EQ(weights.warm({.threads = 2}).end, WarmEnd::complete);
    EXPECT_TRUE(all_right(weights));
  });
}

// To other users, the kernel reports neither what is in the page cache nor what is missing.
TEST(CachedWeightsInGroup, OfAnotherUserNeedNoBudgetToBeMapped) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  if (!is_root()) GTEST_SKIP() << "only root can give a file to another user";
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  const TempFolder folder;
  const fs::path path = make_file(folder, "a.safetensors", {.sizes = {kTooMuch}});
  fs::permissions(path, fs::perms(0444));
  group.in_group([&] {
    become_nobody();
    Weights weights = Weights::open(path);
    EXPECT_EQ(weights.files()[0].cached, std::nullopt);
    EXPECT_EQ(weights.files()[0].way, Way::map);
    EXPECT_EQ(weights.residency().cached, std::nullopt);
    EXPECT_EQ(weights.warm({.threads = 2}).end, WarmEnd::complete);
    EXPECT_TRUE(all_right(weights));
  });
}

// The kernel drops clean pages before it kills, and the result has what stayed.
TEST(ColdWeightsInGroup, OfAnotherUserAreNotCountedBeyondTheLimit) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  if (!is_root()) GTEST_SKIP() << "only root can give a file to another user";
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  const TempFolder folder;
  const fs::path path = make_file(folder, "a.safetensors", {.sizes = {2 * kLimit}});
  store_and_make_cold(path);
  if (Weights::open(path).files()[0].cached.value_or(kLimit) >= kLimit) {
    GTEST_SKIP() << "the kernel keeps the file in the page cache";
  }
  fs::permissions(path, fs::perms(0444));
  group.in_group([&] {
    become_nobody();
    Weights weights = Weights::open(path, {.way = Way::map});
    const WarmResult result = weights.warm({.threads = 1});
    EXPECT_GT(result.warmed, 0U);
    EXPECT_LE(result.present.value_or(0), kLimit);
  });
}

// The files of a container's image. Their pages are those of the files below the overlay.
TEST(CachedWeightsInGroup, OnAnOverlayNeedNoBudgetToBeMapped) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  if (!may_mount_overlay()) GTEST_SKIP() << "this process may not mount an overlay";
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  const TempFolder lower;
  const std::uint64_t size =
      fs::file_size(make_file(lower, "a.safetensors", {.sizes = {kTooMuch}}));
  const TempFolder folder;
  group.in_group([&] {
    Weights weights = Weights::open(mount_overlay(lower.path(), folder) / "a.safetensors");
    EXPECT_EQ(weights.files()[0].cached, size);
    EXPECT_EQ(weights.files()[0].way, Way::map);
    EXPECT_EQ(weights.residency().cached, size);
    EXPECT_EQ(weights.warm({.threads = 2}).end, WarmEnd::complete);
    EXPECT_TRUE(all_right(weights));
  });
}

}  // namespace
}  // namespace tapedeck::tests
