// SPDX-License-Identifier: Apache-2.0
#include "os/ring.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

constexpr std::size_t kPart = 4096;

class RingReads : public testing::Test {
 protected:
  void SetUp() override {
    for (std::size_t i = 0; i < 8; ++i) content_ += std::string(kPart, static_cast<char>('a' + i));
    file_ = os::open(folder_.write("f", content_), os::OpenFor::reading).descriptor;
    ring_ = os::Ring::make(4);
    if (!ring_) GTEST_SKIP() << "the kernel refuses io_uring";
  }

  TempFolder folder_;
  std::string content_;
  os::Descriptor file_;
  std::unique_ptr<os::Ring> ring_;
};

TEST_F(RingReads, ComeBackWithTheirTags) {
  std::vector<std::vector<std::byte>> parts(4, std::vector<std::byte>(kPart));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    ASSERT_EQ(ring_->read(file_.get(), parts[i], 2 * i * kPart, i), 0);
  }
  EXPECT_EQ(ring_->under_way(), 4U);
  std::set<std::uint64_t> tags;
  while (ring_->under_way() != 0) {
    const os::Ring::Done done = ring_->wait();
    EXPECT_EQ(done.error, 0);
    EXPECT_EQ(done.bytes, kPart);
    EXPECT_EQ(std::memcmp(parts[done.tag].data(), content_.data() + 2 * done.tag * kPart, kPart),
              0);
    tags.insert(done.tag);
  }
  EXPECT_EQ(tags.size(), 4U);
}

TEST_F(RingReads, EndWithTheFile) {
  std::vector<std::byte> part(2 * kPart);
  ASSERT_EQ(ring_->read(file_.get(), part, 7 * kPart, 0), 0);
  EXPECT_EQ(ring_->wait().bytes, kPart);
}

TEST_F(RingReads, TellTheirErrors) {
  std::vector<std::byte> part(kPart);
  ASSERT_EQ(ring_->read(-1, part, 0, 9), 0);
  const os::Ring::Done done = ring_->wait();
  EXPECT_EQ(done.error, EBADF);
  EXPECT_EQ(done.tag, 9U);
}

TEST_F(RingReads, AreWaitedForAtTheEnd) {
  const Holdings before = holdings();
  std::vector<std::byte> part(kPart);
  ASSERT_EQ(ring_->read(file_.get(), part, 0, 0), 0);
  ring_.reset();
  EXPECT_EQ(static_cast<char>(part[kPart - 1]), 'a');
  EXPECT_LT(holdings().descriptors.size(), before.descriptors.size());
}

TEST(Ring, IsNullIfTheKernelRefusesIt) {
  const os::InjectFault fault(1, EPERM);
  EXPECT_EQ(os::Ring::make(4), nullptr);
}

}  // namespace
}  // namespace tapedeck::tests
