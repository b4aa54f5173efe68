// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/counting_heap.hpp"
#include "model/refusal.hpp"
#include "model/shared_data.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

/// The bytes that this process has read so far; 0 if the kernel does not count them.
std::size_t bytes_read() { return number_of("/proc/self/io", "rchar:"); }

// What a file claims must not determine how much work it causes. Work is measured in bytes, of the
// heap and of reads, because time depends on how busy the machine is.
TEST(Malformed, EverySharedFileIsRefusedWithWorkInProportionToIt) {
  const std::vector<IndexRow> rows = index_of("malformed");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("malformed");
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file") + ": " + row.at("what_is_wrong"));
    const std::filesystem::path path = shared_data("malformed") / row.at("file");
    const std::size_t size = std::filesystem::file_size(path);
    std::optional<Refusal> refusal;
    const std::size_t read_before = bytes_read();
    const HeapUse heap = heap_use([&] { refusal = refusal_of(path); });
    const std::size_t read = bytes_read() - read_before;
    ASSERT_TRUE(refusal) << "it was accepted";
    EXPECT_LE(refusal->offset, size);
    EXPECT_TRUE(refusal->text.starts_with(path.string() + ", byte "));
    EXPECT_LE(heap.total, 256_KiB + 2 * size);
    EXPECT_LE(read, 64_KiB + 3 * size);
  }
}

}  // namespace
}  // namespace tapedeck::tests
