// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/live/stat_publisher.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "os/fault_sweep.hpp"
#include "os/faults.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/every_figure.hpp"
#include "telemetry/live/stat_segment.hpp"
#include "telemetry/published.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace segment = internal::segment;
namespace {

using ::testing::AllOf;
using ::testing::IsEmpty;
using ::testing::Property;
using ::testing::Throws;
namespace fs = std::filesystem;

class Publisher : public InSharedMemory {
 protected:
  SmallLayout layout_;
};

std::optional<PublishedStat> read(const fs::path& path) { return StatReader(path).read(); }

TEST_F(Publisher, PublishesTheWholeStat) {
  BusyLayout busy;
  StatPublisher publisher(busy.layout, "chat", folder_.path());
  const StatReader reader(publisher.path());
  const auto first = reader.read();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->stat.text(), busy.layout.stat().text());
  EXPECT_EQ(first->publishes, 1U);

  (void)busy.layout.scratch().take(7'000);
  busy.layout.talk(0).advance();
  EXPECT_EQ(reader.read()->stat.text(), first->stat.text()) << "it was not published yet";
  busy.layout.clear_pass();
  publisher.publish();
  const auto second = reader.read();
  EXPECT_EQ(second->stat.text(), busy.layout.stat().text());
  EXPECT_NE(second->stat.text(), first->stat.text());
  EXPECT_EQ(second->publishes, 2U);
  EXPECT_LT(second->age, 60'000'000'000U);
}

TEST(StatSegment, HasEveryWishAndIsFilledByMostDevices) {
  Stat stat = numbered_stat(kMostGpus);
  std::int32_t error = 0;
  for (std::int32_t& wish : stat.scratch.unmet) wish = ++error;
  for (std::int32_t& wish : stat.gpu.back().history.unmet) wish = ++error;
  std::vector<std::uint64_t> words;
  segment::for_each_word(stat, [&words](std::uint64_t word) { words.push_back(word); });
  EXPECT_EQ(words.size() + segment::figures + segment::record_at(), segment::word_count());
  Stat again;
  ASSERT_TRUE(segment::read_stat(words, again));
  EXPECT_EQ(every_figure(again), every_figure(stat));
  EXPECT_EQ(again.scratch.unmet, stat.scratch.unmet);
  EXPECT_EQ(again.gpu.back().history.unmet, stat.gpu.back().history.unmet);
  EXPECT_LE(segment::word_count() * segment::kWord, segment::kMostBytes);
}

TEST_F(Publisher, IsForItsUserAlone) {
  const StatPublisher publisher(layout_, "chat", folder_.path());
  struct stat status {};
  ASSERT_EQ(::stat(publisher.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  EXPECT_EQ(status.st_uid, ::geteuid());
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), segment::word_count() * segment::kWord);
  // The whole file is allocated, so no store can find the file system full.
  EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512,
            segment::word_count() * segment::kWord);
}

TEST_F(Publisher, IsFoundByProcessAndName) {
  const StatPublisher b(layout_, "b.2_-", folder_.path());
  const StatPublisher a(layout_, "a", folder_.path());
  const auto all = published_layouts(folder_.path());
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name, "a");
  EXPECT_EQ(all[0].process, ::getpid());
  EXPECT_EQ(all[0].path, a.path());
  EXPECT_EQ(all[1].name, "b.2_-");
  EXPECT_EQ(StatReader(b.path()).published().name, "b.2_-");
}

TEST_F(Publisher, LeavesNothingBehind) {
  const Holdings before = holdings();
  std::optional<StatReader> reader;
  {
    const StatPublisher publisher(layout_, "chat", folder_.path());
    reader.emplace(publisher.path());
    EXPECT_EQ(reader->state(), PublisherState::running);
  }
  EXPECT_THAT(folder_.files(), IsEmpty());
  EXPECT_EQ(reader->state(), PublisherState::ended);
  EXPECT_TRUE(reader->read());
  reader.reset();
  EXPECT_TRUE(same(before, holdings()));
}

TEST_F(Publisher, RefusesInvalidAndTakenNames) {
  const auto refused = [&](const std::string& name) {
    return thrown<InvalidArgument>([&] { StatPublisher(layout_, name, folder_.path()); })
        .argument();
  };
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string("a b"), std::string("\x1b[2J"),
        std::string("\xc3\xa4"), std::string("a\0b", 3), std::string(64, 'a')}) {
    EXPECT_EQ(refused(name), "name") << name;
  }
  EXPECT_NO_THROW(StatPublisher(layout_, std::string(63, 'a'), folder_.path()));
  EXPECT_THAT(folder_.files(), IsEmpty());
  // This also holds for what is already published.
  const StatPublisher first(layout_, "chat", folder_.path());
  EXPECT_EQ(refused("chat"), "name");
  EXPECT_EQ(StatReader(first.path()).state(), PublisherState::running);
  EXPECT_TRUE(fs::exists(first.path()));
}

// The name is predictable, and a folder such as /dev/shm is open to all users.
TEST_F(Publisher, TakesAnotherNameIfAnotherUserHasTheFirst) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  const fs::path usual = StatPublisher(layout_, "chat", folder_.path()).path();
  const std::vector<std::function<void()>> takings = {
      [&] { overwrite(usual, "x"); }, [&] { fs::create_symlink("/nowhere", usual); },
      [&] { fs::create_directory(usual); }, [&] { ASSERT_EQ(::mkfifo(usual.c_str(), 0600), 0); }};
  for (const auto& take : takings) {
    take();
    ASSERT_EQ(::lchown(usual.c_str(), 65'534, 65'534), 0);
    {
      const StatPublisher publisher(layout_, "chat", folder_.path());
      EXPECT_NE(publisher.path(), usual);
      EXPECT_TRUE(read(publisher.path()));
      const auto all = published_layouts(folder_.path());
      EXPECT_EQ(std::ranges::count(all, publisher.path(), &PublishedLayout::path), 1);
    }
    EXPECT_THAT(folder_.files(), ElementsAre(usual.filename()));
    fs::remove(usual);
  }
}

TEST_F(Publisher, SaysWhereItCannotPublish) {
  EXPECT_THAT([&] { const StatPublisher publisher(layout_, "chat", "/no/such/folder"); },
              Throws<SystemError>(AllOf(Property(&SystemError::number, ENOENT),
                                        Property(&SystemError::path, "/no/such/folder"))));
}

// Detected immediately, rather than by a store to a page that cannot be allocated.
TEST_F(Publisher, SaysThatTheFolderIsFull) {
  constexpr int kNoMount = 77;
  const Ended ended =
      Child([&] {
        const char* const at = folder_.path().c_str();
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", at, "tmpfs", 0, "size=4096") != 0) {
          ::_exit(kNoMount);
        }
        overwrite(folder_.path() / "full", std::string(4096, 'x'));
        EXPECT_THAT([&] { const StatPublisher publisher(layout_, "chat", folder_.path()); },
                    Throws<SystemError>(AllOf(Property(&SystemError::number, ENOSPC),
                                              Property(&SystemError::call, "fallocate"))));
      }).wait();
  if (ended.exit_code == kNoMount) GTEST_SKIP() << "only root can mount a small file system";
  EXPECT_TRUE(passed(ended));
}

// Marking the end in the child would mark it for its parent, too.
TEST_F(Publisher, IsNotTakenBackByAForkedChild) {
  std::optional<StatPublisher> publisher;
  publisher.emplace(layout_, "chat", folder_.path());
  in_child([&] { publisher.reset(); });
  EXPECT_EQ(StatReader(publisher->path()).state(), PublisherState::running);
  EXPECT_TRUE(fs::exists(publisher->path()));
}

TEST_F(Publisher, RemovesWhatADeadOneOfItsNameLeft) {
  OtherPublisher dead(folder_.path(), "chat");
  OtherPublisher other_name(folder_.path(), "other");
  OtherPublisher alive(folder_.path(), "chat");
  const fs::path left = dead.path();
  dead.kill();
  other_name.kill();
  const StatPublisher publisher(layout_, "chat", folder_.path());
  std::vector<std::string> expected = {alive.path().filename(), other_name.path().filename(),
                                       publisher.path().filename()};
  EXPECT_THAT(folder_.files(), ::testing::UnorderedElementsAreArray(expected));
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(Publisher, TouchesNothingOfOthersWithItsName) {
  const fs::path target = folder_.path() / "target";
  overwrite(target, "precious");
  fs::create_symlink(target, folder_.path() / "tapedeck.1.1.chat");
  overwrite(folder_.path() / "tapedeck.2.2.chat", "garbage");
  fs::create_directory(folder_.path() / "tapedeck.3.3.chat");
  const StatPublisher publisher(layout_, "chat", folder_.path());
  EXPECT_EQ(folder_.files().size(), 5U);
  EXPECT_EQ(text_of(target), "precious");
}

TEST_F(Publisher, RollsBackWhicheverCallFails) {
  const auto publish_and_read = [&]() -> Complaints {
    // Files of a run that could not remove them.
    for (const std::string& file : folder_.files()) fs::remove(folder_.path() / file);
    try {
      const StatPublisher publisher(layout_, "chat", folder_.path());
      if (!read(publisher.path())) return {"not published"};
      // Without its PID namespace a reader cannot find its process.
      const StatReader reader(publisher.path());
      return {to_string(reader.state()), reader.process_visible() ? "visible" : "not visible"};
    } catch (const SystemError&) {
      EXPECT_THAT(folder_.files(), IsEmpty()) << os::InjectFault::victim();
      throw;
    }
  };
  // Failing to clean up after others, or after itself, may go unnoticed.
  const Work work = {.run = publish_and_read, .silent = {"opendir", "unlink"}};
  for (const int error : {ENOMEM, ENOSPC, EACCES}) EXPECT_GT(sweep(work, error), 8U);
}

// As if it were called for every token.
TEST_F(Publisher, PublishesWithoutASystemCall) {
  StatPublisher publisher(layout_, "chat", folder_.path());
  const os::InjectFault count(0, 0);
  publisher.publish();
  EXPECT_EQ(os::InjectFault::calls(), 0U);
}

}  // namespace
}  // namespace tapedeck::tests
