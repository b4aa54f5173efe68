// SPDX-License-Identifier: Apache-2.0
// Block::warm. warm_budget_test.cpp tests its limits.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "memory/pattern.hpp"
#include "os/faults.hpp"
#include "os/meminfo.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

Block committed_block(std::size_t bytes) {
  Block block = Block::reserve(bytes, {.huge_pages = HugePages::never});
  block.commit(bytes);
  return block;
}

void expect_present(const Block& block, std::size_t offset, std::size_t bytes) {
  EXPECT_EQ(block.residency(offset, bytes).present.value_or(bytes), bytes);
}

void expect_complete(const WarmResult& result, std::size_t bytes) {
  EXPECT_TRUE(result);
  EXPECT_EQ(result.end, WarmEnd::complete);
  EXPECT_EQ(result.asked, bytes);
  EXPECT_EQ(result.warmed, bytes);
  EXPECT_EQ(result.present.value_or(bytes), bytes);
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.limit, "");
}

/// Records each call of `progress`.
class Notes {
 public:
  [[nodiscard]] auto writer() {
    return [this](WarmProgress progress) { all_.push_back(progress); };
  }

  void expect_rising_to(std::size_t total) const {
    ASSERT_FALSE(all_.empty());
    std::size_t before = 0;
    for (const WarmProgress& one : all_) {
      EXPECT_GT(one.done, before);
      EXPECT_EQ(one.total, total);
      EXPECT_EQ(one.done % kPage, 0U);
      before = one.done;
    }
    EXPECT_EQ(before, total);
  }
  [[nodiscard]] std::size_t count() const { return all_.size(); }

 private:
  std::vector<WarmProgress> all_;
};

class WarmThreadsAndChunks : public ::testing::TestWithParam<std::tuple<unsigned, std::size_t>> {
 protected:
  static constexpr std::size_t kPages = 37;

  [[nodiscard]] static WarmOptions options(Notes& notes) {
    return {.threads = std::get<0>(GetParam()),
            .chunk = std::get<1>(GetParam()),
            .progress = notes.writer()};
  }
};

INSTANTIATE_TEST_SUITE_P(All, WarmThreadsAndChunks,
                         ::testing::Combine(::testing::Values(0U, 1U, 2U, 3U, 4U),
                                            ::testing::Values(0U, 1U, kPage, kPage + 1, 5 * kPage,
                                                              37 * kPage, 32_MiB, kMost / 2 + 1,
                                                              kMost)));

TEST_P(WarmThreadsAndChunks, FreshMemoryBecomesResidentAndIsZero) {
  Block block = committed_block(kPages * kPage);
  Notes notes;
  expect_complete(block.warm(0, kPages * kPage, options(notes)), kPages * kPage);
  expect_present(block, 0, kPages * kPage);
  EXPECT_TRUE(all_bytes_are(block.data(), kPages * kPage, 0));
  notes.expect_rising_to(kPages * kPage);
  const std::size_t chunk = std::max(std::get<1>(GetParam()) / kPage, std::size_t{1});  // in pages
  EXPECT_EQ(notes.count(), chunk < kPages ? (kPages + chunk - 1) / chunk : 1);
}

TEST_P(WarmThreadsAndChunks, NoByteChanges) {
  Block block = committed_block(kPages * kPage);
  Pattern(1).write(block.data() + 3 * kPage, 20 * kPage);  // some are present, some are not
  Notes notes;
  expect_complete(block.warm(0, kPages * kPage, options(notes)), kPages * kPage);
  EXPECT_TRUE(all_bytes_are(block.data(), 3 * kPage, 0));
  EXPECT_TRUE(Pattern(1).is_at(block.data() + 3 * kPage, 20 * kPage));
  expect_present(block, 0, kPages * kPage);
}

TEST_P(WarmThreadsAndChunks, AFileBecomesResidentAndKeepsItsBytes) {
  const TempFolder folder;
  std::string content(kPages * kPage - 100, '\0');
  Pattern(3).write(content.data(), content.size());
  Block block = Block::map_file(folder.write("a", content));
  Notes notes;
  const WarmResult result = block.warm(0, block.size(), options(notes));
  expect_complete(result, kPages * kPage);  // whole pages
  expect_present(block, 0, block.size());
  EXPECT_TRUE(Pattern(3).is_at(block.data(), content.size()));
  notes.expect_rising_to(kPages * kPage);
}

// The number of the first call that populates, counted from the start of a warm.
std::uint64_t first_populate() {
  for (std::uint64_t k = 1; k < 1000; ++k) {
    Block block = committed_block(kPage);
    const os::InjectFault fault(k, EINVAL);
    static_cast<void>(block.warm(0, kPage, {.threads = 1}));
    if (std::string(os::InjectFault::victim()) == "madvise") return k;
  }
  ADD_FAILURE() << "warm populates nothing";
  return 0;
}

// As on kernels before 5.14, which lack MADV_POPULATE.
TEST(WarmByTouching, MakesPagesResidentAndChangesNoByte) {
  const std::uint64_t populate = first_populate();
  Block block = committed_block(37 * kPage);
  Pattern(1).write(block.data(), 5 * kPage);
  {
    const os::InjectFault fault(populate, EINVAL);
    expect_complete(block.warm(0, 37 * kPage, {.threads = 1}), 37 * kPage);
    ASSERT_STREQ(os::InjectFault::victim(), "madvise");
  }
  expect_present(block, 0, 37 * kPage);
  EXPECT_TRUE(Pattern(1).is_at(block.data(), 5 * kPage));
  EXPECT_TRUE(all_bytes_are(block.data() + 5 * kPage, 32 * kPage, 0));
  // The pages are the block's own. Of the shared page of zeros, each write would fault.
  const std::uint64_t before = os::page_faults().minor;
  for (std::size_t page = 5; page < 37; ++page) block.data()[page * kPage] = std::byte{1};
  EXPECT_LT(os::page_faults().minor - before, 16U);
}

TEST(WarmByTouching, ReadsFiles) {
  const TempFolder folder;
  std::string content(20 * kPage + 1, '\0');
  Pattern(3).write(content.data(), content.size());
  Block block = Block::map_file(folder.write("a", content));
  block.decommit(0);
  {
    const os::InjectFault fault(first_populate(), EINVAL);
    expect_complete(block.warm(0, block.size(), {.threads = 1}), 21 * kPage);
  }
  expect_present(block, 0, block.size());
  EXPECT_TRUE(Pattern(3).is_at(block.data(), content.size()));
}

// One page mapped many times in a row, so that touching any of them touches the same bytes.
class OnePageManyTimes {
 public:
  OnePageManyTimes() {
    for (std::size_t i = 0; i < kTimes; ++i) {
      const os::Mapped mapped =
          os::map_shared(memory_.descriptor(), kPage, os::Access::write, below_.data() + i * kPage);
      EXPECT_EQ(mapped.error, 0);
    }
  }
  [[nodiscard]] std::span<std::byte> span() const { return {below_.data(), kTimes * kPage}; }

 private:
  static constexpr std::size_t kTimes = 4096;
  Block memory_ = Block::create_shared(kPage);
  Block below_ = Block::reserve(kTimes * kPage);
};

// A page that is touched during a write keeps what was written.
void expect_undisturbed_writer(Block& block, std::uint64_t populate, int rounds) {
  const std::atomic_ref word(reinterpret_cast<unsigned char&>(*block.data()));
  std::atomic<bool> done{false};
  std::atomic<bool> started{false};
  std::uint64_t writes = 0;
  std::jthread writer([&] {
    for (; !done; ++writes) {
      word.fetch_add(1, std::memory_order_relaxed);
      started.store(true, std::memory_order_relaxed);
    }
  });
  while (!started) std::this_thread::yield();
  for (int round = 0; round < rounds; ++round) {
    const os::InjectFault fault(populate, EINVAL);
    EXPECT_TRUE(block.warm(0, block.size(), {.threads = 1}));
    EXPECT_STREQ(os::InjectFault::victim(), "madvise");
  }
  done = true;
  writer.join();
  EXPECT_EQ(word.load(), static_cast<unsigned char>(writes % 256));
}

TEST(WarmByTouching, DisturbsNoWriterOfSharedMemory) {
  const std::uint64_t populate = first_populate();
  const OnePageManyTimes pages;
  Block block = Block::borrow(pages.span());
  expect_undisturbed_writer(block, populate, 20);
}

// Private memory is written to, by an atomic operation.
TEST(WarmByTouching, DisturbsNoWriterOfPrivateMemory) {
  const std::uint64_t populate = first_populate();
  Block block = committed_block(kPage);
  expect_undisturbed_writer(block, populate, 1000);
}

struct Unwritable {
  const char* name;
  int protection;
  std::size_t mapped;  ///< Pages, of 4.
  int error;           ///< 0: it is read instead.
};

// MADV_POPULATE_WRITE gives EINVAL for these, as it does on kernels that lack it.
TEST(Warm, BorrowedMemoryThatCannotBeWrittenIsReadOrRefused) {
  for (const Unwritable& row : {Unwritable{"read-only", PROT_READ, 4, 0},
                                Unwritable{"without access", PROT_NONE, 4, EACCES},
                                Unwritable{"read-only, then unmapped", PROT_READ, 3, ENOMEM}}) {
    SCOPED_TRACE(row.name);
    Block below = committed_block(4 * kPage);
    Pattern(1).write(below.data(), 2 * kPage);
    ASSERT_EQ(::mprotect(below.data(), 4 * kPage, row.protection), 0);
    if (row.mapped != 4) {
      ASSERT_EQ(::munmap(below.data() + row.mapped * kPage, kPage), 0);
    }
    Block block = Block::borrow({below.data(), 4 * kPage});
    const WarmResult result = block.warm(0, 4 * kPage);
    EXPECT_EQ(result.end, row.error == 0 ? WarmEnd::complete : WarmEnd::failed);
    EXPECT_EQ(result.error, row.error);
    EXPECT_EQ(result.warmed, row.error == 0 ? 4 * kPage : 0U);
    if (row.error == 0) {
      EXPECT_EQ(result.present.value_or(4 * kPage), 4 * kPage);
      EXPECT_TRUE(Pattern(1).is_at(block.data(), 2 * kPage));
    } else {
      const auto error = thrown<SystemError>([&] { result.or_throw("warming"); });
      EXPECT_EQ(error.number(), row.error);
      EXPECT_NE(error.advice(), "");
    }
  }
}

TEST(Warm, TellsWhatTheKernelRefused) {
  const std::uint64_t populate = first_populate();
  for (const int error : {ENOMEM, EFAULT, EHWPOISON, EPERM}) {
    Block block = committed_block(8 * kPage);
    const os::InjectFault fault(populate, error);
    const WarmResult result = block.warm(0, 8 * kPage, {.threads = 1});
    EXPECT_FALSE(result);
    EXPECT_EQ(result.end, WarmEnd::failed);
    EXPECT_EQ(result.error, error);
    EXPECT_EQ(result.asked, 8 * kPage);
    EXPECT_EQ(result.warmed, 0U);
    EXPECT_EQ(result.present.value_or(0), 0U);
  }
}

// If the file shrank, warm reports an error, although touching its pages would raise SIGBUS.
TEST(Warm, AFileThatShrankIsAFailure) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", std::string(16 * kPage, 'x'));
  Block block = Block::map_file(path);
  ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(4 * kPage)), 0);
  const WarmResult result = block.warm(0, block.size(), {.threads = 1, .chunk = 2 * kPage});
  EXPECT_EQ(result.end, WarmEnd::failed);
  EXPECT_EQ(result.error, EFAULT);
  EXPECT_EQ(result.asked, 16 * kPage);
  EXPECT_EQ(result.warmed, 4 * kPage);
  EXPECT_EQ(result.present.value_or(4 * kPage), 4 * kPage);
}

TEST(Warm, PresentIsUnknownWhereThePagemapCannotBeRead) {
  Block block = committed_block(kPage);
  std::size_t unknown = 0;
  for (std::uint64_t k = 1;; ++k) {
    const os::InjectFault fault(k, EACCES);
    const WarmResult result = block.warm(0, kPage, {.threads = 1});
    if (!os::InjectFault::fired()) break;
    if (result && !result.present) ++unknown;
  }
  EXPECT_GE(unknown, 1U);  // its open,
  EXPECT_LE(unknown, 2U);  // and its pread, if the kernel lacks PAGEMAP_SCAN
}

TEST(Warm, WarmsWholePagesOfTheRangeAndNothingElse) {
  for (const bool borrowed : {false, true}) {
    Block below = committed_block(16 * kPage);
    Block block = Block::borrow({below.data() + kPage - 8, 4 * kPage});
    const WarmResult result =
        borrowed ? block.warm(0, 2 * kPage) : below.warm(kPage + 100, 2 * kPage);
    const std::size_t first = borrowed ? 0 : kPage;
    EXPECT_EQ(result.asked, 3 * kPage);
    EXPECT_EQ(result.warmed, 3 * kPage);
    expect_present(below, first, 3 * kPage);
    EXPECT_LE(below.residency(0, 16 * kPage).present.value_or(0), 3 * kPage);
  }
}

TEST(Warm, OfNothingIsComplete) {
  Block block = committed_block(kPage);
  for (const std::size_t offset : {std::size_t{0}, kPage}) {
    const os::InjectFault counting(0, 0);
    const WarmResult result = block.warm(offset, 0);
    EXPECT_TRUE(result);
    EXPECT_EQ(result.asked, 0U);
    EXPECT_EQ(result.present, 0U);
    EXPECT_EQ(os::InjectFault::calls(), 0U);
  }
}

TEST(Warm, RefusesWhatIsNotCommitted) {
  Block block = Block::reserve(4 * kPage);
  block.commit(2 * kPage);
  for (const auto& [offset, bytes] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, 2 * kPage + 1}, {2 * kPage + 1, 0}, {kPage, kMost}, {kMost, 1}, {kMost, kMost}}) {
    EXPECT_THROW(static_cast<void>(block.warm(offset, bytes)), InvalidArgument);
  }
}

TEST(WarmStop, BeforeTheStartWarmsNothing) {
  std::stop_source stop;
  stop.request_stop();
  for (const unsigned threads : {1U, 4U}) {
    Block block = committed_block(64 * kPage);
    Notes notes;
    const WarmResult result = block.warm(
        0, 64 * kPage,
        {.threads = threads, .chunk = kPage, .stop = stop.get_token(), .progress = notes.writer()});
    EXPECT_FALSE(result);
    EXPECT_EQ(result.end, WarmEnd::stopped);
    EXPECT_EQ(result.asked, 64 * kPage);
    EXPECT_EQ(result.warmed, 0U);
    EXPECT_EQ(result.present.value_or(0), 0U);
    EXPECT_EQ(notes.count(), 0U);
  }
}

// Each thread ends after its current chunk.
TEST(WarmStop, InTheMiddleLeavesTheRest) {
  for (const unsigned threads : {1U, 2U, 4U}) {
    Block block = committed_block(64 * kPage);
    std::stop_source stop;
    const WarmResult result = block.warm(0, 64 * kPage,
                                         {.threads = threads,
                                          .chunk = kPage,
                                          .stop = stop.get_token(),
                                          .progress = [&](WarmProgress) { stop.request_stop(); }});
    EXPECT_EQ(result.end, WarmEnd::stopped);
    EXPECT_EQ(result.asked, 64 * kPage);
    EXPECT_GE(result.warmed, kPage);
    EXPECT_LE(result.warmed, threads * kPage);
    EXPECT_EQ(result.present.value_or(result.warmed), result.warmed);
    // A warm that was stopped can be continued.
    expect_complete(block.warm(0, 64 * kPage, {.threads = 2}), 64 * kPage);
  }
}

TEST(WarmStop, AfterTheLastChunkIsTooLate) {
  Block block = committed_block(4 * kPage);
  std::stop_source stop;
  const auto stop_at_the_end = [&](WarmProgress progress) {
    if (progress.done == progress.total) stop.request_stop();
  };
  EXPECT_TRUE(block.warm(
      0, 4 * kPage,
      {.threads = 1, .chunk = kPage, .stop = stop.get_token(), .progress = stop_at_the_end}));
}

TEST(WarmProgress, IsToldOneCallAtATime) {
  Block block = committed_block(256 * kPage);
  std::atomic<int> inside{0};
  int calls = 0;  // not atomic, because calls are serialized
  EXPECT_TRUE(
      block.warm(0, 256 * kPage, {.threads = 4, .chunk = kPage, .progress = [&](WarmProgress) {
                                    EXPECT_EQ(inside.fetch_add(1), 0);
                                    ++calls;
                                    std::this_thread::yield();
                                    inside.fetch_sub(1);
                                  }}));
  EXPECT_EQ(calls, 256);
}

TEST(WarmProgress, WhatItThrowsComesOutOfWarm) {
  for (const unsigned threads : {1U, 2U, 4U}) {
    Block block = committed_block(64 * kPage);
    Pattern(1).write(block.data(), kPage);
    int calls = 0;
    const WarmOptions options = {.threads = threads, .chunk = kPage, .progress = [&](WarmProgress) {
                                   if (++calls == 3) throw std::runtime_error("the user left");
                                 }};
    EXPECT_THROW(static_cast<void>(block.warm(0, 64 * kPage, options)), std::runtime_error);
    EXPECT_EQ(calls, 3);  // progress is not called after it has thrown
    EXPECT_TRUE(Pattern(1).is_at(block.data(), kPage));
    expect_complete(block.warm(0, 64 * kPage, {.threads = threads}), 64 * kPage);
  }
}

// The same for any thread: an exception that escaped from a helper thread would end the program.
TEST(WarmProgress, WhatItThrowsInAHelperThreadComesOutOfWarm) {
  Block block = committed_block(64 * kPage);
  const std::thread::id self = std::this_thread::get_id();
  const WarmOptions options = {.threads = 4, .chunk = kPage, .progress = [&](WarmProgress) {
                                 if (std::this_thread::get_id() != self) throw 42;
                                 std::this_thread::yield();
                               }};
  for (int round = 0; round < 1000; ++round) {
    try {
      static_cast<void>(block.warm(0, 64 * kPage, options));
    } catch (int thrown) {
      EXPECT_EQ(thrown, 42);
      return;
    }
  }
  FAIL() << "no helper thread got a chunk in a thousand rounds";
}

}  // namespace
}  // namespace tapedeck::tests
