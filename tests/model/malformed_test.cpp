#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "model/counting_heap.hpp"
#include "model/refusal.hpp"
#include "model/shared_data.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

// Of this thread: on a busy machine the clock on the wall says little.
std::chrono::nanoseconds processor_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

TEST(Malformed, EverySharedFileIsRefusedSoonAndCheaply) {
  const std::vector<IndexRow> rows = index_of("malformed");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("malformed");
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file") + ": " + row.at("what_is_wrong"));
    const std::filesystem::path path = shared_data("malformed") / row.at("file");
    Refusal refusal;
    const auto begin = processor_time();
    const std::size_t heap = peak_heap([&] { refusal = refusal_of(path); });
    const auto took = processor_time() - begin;
    EXPECT_TRUE(refusal.format_error) << "it was read, or: " << refusal.text;
    EXPECT_EQ(refusal.path, path.string());
    EXPECT_LE(refusal.offset, std::filesystem::file_size(path)) << refusal.text;
    EXPECT_LE(heap, 64_MiB);
    EXPECT_LE(took, std::chrono::milliseconds(100));
  }
}

}  // namespace
}  // namespace tapedeck::tests
