#include "tapedeck/telemetry/stat_publisher.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>

#include "os/fault_sweep.hpp"
#include "os/faults.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/published.hpp"
#include "telemetry/stat_segment.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

std::optional<PublishedStat> read(const fs::path& path) { return StatReader(path).read(); }

TEST(StatPublisher, PublishesTheWholeStat) {
  const SharedFolder folder;
  BusyLayout busy;
  StatPublisher publisher(busy.layout, "chat", folder.path());
  const StatReader reader(publisher.path());
  const auto first = reader.read();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->stat.text(), busy.layout.stat().text());
  EXPECT_EQ(first->publishes, 1U);

  (void)busy.layout.scratch().take(7'000);
  busy.layout.advance(0);
  EXPECT_EQ(reader.read()->stat.text(), first->stat.text()) << "it was not published yet";
  busy.layout.clear_pass();
  publisher.publish();
  const auto second = reader.read();
  EXPECT_EQ(second->stat.text(), busy.layout.stat().text());
  EXPECT_NE(second->stat.text(), first->stat.text());
  EXPECT_EQ(second->publishes, 2U);
  EXPECT_LT(second->age, 60'000'000'000U);
}

/// Every figure of the list, and every wish, in its own place.
TEST(StatPublisher, LosesNoFigure) {
  Stat stat;
  stat.gpus = kMostGpus;
  std::uint64_t number = 1'000;
  const auto number_all = [&number](auto fields, auto& figures) {
    for (const auto& field : fields) {
      if (field.set != nullptr && std::string(field.name) != "gpus") field.set(figures, ++number);
    }
  };
  const auto number_tapes = [&](auto& of) {
    for (TapeStat* const tape : {&of.weights, &of.scratch, &of.history}) {
      number_all(tape_fields(), *tape);
      for (std::int32_t& error : tape->unmet) error = static_cast<std::int32_t>(++number);
    }
  };
  number_all(layout_fields(), stat);
  number_tapes(stat);
  for (DeviceStat& gpu : stat.gpu) {
    number_all(device_fields(), gpu);
    number_tapes(gpu);
  }
  std::vector<std::uint64_t> words;
  segment::for_each_word(stat,
                         [&words](std::size_t, std::uint64_t word) { words.push_back(word); });
  EXPECT_EQ(words.size() + segment::figures + segment::record_at(), segment::word_count());
  Stat again;
  ASSERT_TRUE(segment::read_stat(words, again));
  EXPECT_EQ(again.text(), stat.text());
  EXPECT_EQ(again.gpu.back().history.unmet, stat.gpu.back().history.unmet);
  EXPECT_LE(segment::word_count() * 8, segment::kMostBytes);
}

TEST(StatPublisher, IsForItsUserAlone) {
  const SharedFolder folder;
  SmallLayout layout;
  const StatPublisher publisher(layout, "chat", folder.path());
  struct stat status {};
  ASSERT_EQ(::stat(publisher.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  EXPECT_EQ(status.st_uid, ::geteuid());
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), segment::word_count() * 8);
  // All of it is there: a store cannot find the file system full.
  EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512, segment::word_count() * 8);
}

TEST(StatPublisher, IsFoundByProcessAndName) {
  const SharedFolder folder;
  SmallLayout layout;
  const StatPublisher b(layout, "b.2_-", folder.path());
  const StatPublisher a(layout, "a", folder.path());
  const auto all = published_layouts(folder.path());
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name, "a");
  EXPECT_EQ(all[0].process, ::getpid());
  EXPECT_EQ(all[0].path, a.path());
  EXPECT_EQ(all[1].name, "b.2_-");
  EXPECT_EQ(StatReader(b.path()).published().name, "b.2_-");
}

TEST(StatPublisher, LeavesNothingBehind) {
  const SharedFolder folder;
  SmallLayout layout;
  const Holdings before = holdings();
  std::optional<StatReader> reader;
  {
    const StatPublisher publisher(layout, "chat", folder.path());
    reader.emplace(publisher.path());
    EXPECT_EQ(reader->state(), PublisherState::running);
  }
  EXPECT_THAT(folder.files(), IsEmpty());
  EXPECT_EQ(reader->state(), PublisherState::ended);
  EXPECT_TRUE(reader->read());
  reader.reset();
  EXPECT_TRUE(same(before, holdings()));
}

TEST(StatPublisher, RefusesNamesThatAreNone) {
  const SharedFolder folder;
  SmallLayout layout;
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string("a b"), std::string("\x1b[2J"),
        std::string("\xc3\xa4"), std::string("a\0b", 3), std::string(64, 'a')}) {
    EXPECT_THROW(StatPublisher(layout, name, folder.path()), InvalidArgument) << name;
  }
  EXPECT_NO_THROW(StatPublisher(layout, std::string(63, 'a'), folder.path()));
  EXPECT_THAT(folder.files(), IsEmpty());
}

TEST(StatPublisher, RefusesANameTwice) {
  const SharedFolder folder;
  SmallLayout layout;
  const StatPublisher first(layout, "chat", folder.path());
  EXPECT_THROW(StatPublisher(layout, "chat", folder.path()), InvalidArgument);
  EXPECT_EQ(StatReader(first.path()).state(), PublisherState::running);
  EXPECT_TRUE(fs::exists(first.path()));
}

TEST(StatPublisher, SaysWhereItCannotPublish) {
  SmallLayout layout;
  try {
    const StatPublisher publisher(layout, "chat", "/no/such/folder");
    FAIL() << "it published there";
  } catch (const SystemError& error) {
    EXPECT_EQ(error.number(), ENOENT);
    EXPECT_EQ(error.path(), "/no/such/folder");
    EXPECT_THAT(error.what(), HasSubstr("publish in a folder"));
  }
}

// Found out at once, and not by a store that there is no page for.
TEST(StatPublisher, SaysThatTheFolderIsFull) {
  constexpr int kNoMount = 77;
  const SharedFolder folder;
  SmallLayout layout;
  const Ended ended = Child([&] {
                        const char* const at = folder.path().c_str();
                        if (::unshare(CLONE_NEWNS) != 0 ||
                            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                            ::mount("tmpfs", at, "tmpfs", 0, "size=4096") != 0) {
                          ::_exit(kNoMount);
                        }
                        overwrite(folder.path() / "full", std::string(4096, 'x'));
                        try {
                          const StatPublisher publisher(layout, "chat", folder.path());
                          ADD_FAILURE() << "there was room";
                        } catch (const SystemError& error) {
                          EXPECT_EQ(error.number(), ENOSPC);
                          EXPECT_EQ(error.call(), "fallocate");
                        }
                      }).wait();
  if (ended.exit_code == kNoMount) GTEST_SKIP() << "only root can mount a small file system";
  EXPECT_TRUE(passed(ended));
}

// It would be this process's end, and its parent's, too.
TEST(StatPublisher, IsNotTakenBackByAForkedChild) {
  const SharedFolder folder;
  SmallLayout layout;
  std::optional<StatPublisher> publisher;
  publisher.emplace(layout, "chat", folder.path());
  in_child([&] { publisher.reset(); });
  EXPECT_EQ(StatReader(publisher->path()).state(), PublisherState::running);
  EXPECT_TRUE(fs::exists(publisher->path()));
}

TEST(StatPublisher, RemovesWhatADeadOneOfItsNameLeft) {
  const SharedFolder folder;
  OtherPublisher dead(folder.path(), "chat");
  OtherPublisher other_name(folder.path(), "other");
  OtherPublisher alive(folder.path(), "chat");
  const fs::path left = dead.path();
  dead.kill();
  other_name.kill();
  SmallLayout layout;
  const StatPublisher publisher(layout, "chat", folder.path());
  std::vector<std::string> expected = {alive.path().filename(), other_name.path().filename(),
                                       publisher.path().filename()};
  EXPECT_THAT(folder.files(), ::testing::UnorderedElementsAreArray(expected));
  EXPECT_FALSE(fs::exists(left));
}

TEST(StatPublisher, TouchesNothingOfOthersWithItsName) {
  const SharedFolder folder;
  const fs::path target = folder.path() / "target";
  overwrite(target, "precious");
  fs::create_symlink(target, folder.path() / "tapedeck.1.1.chat");
  overwrite(folder.path() / "tapedeck.2.2.chat", "garbage");
  fs::create_directory(folder.path() / "tapedeck.3.3.chat");
  SmallLayout layout;
  const StatPublisher publisher(layout, "chat", folder.path());
  EXPECT_EQ(folder.files().size(), 5U);
  EXPECT_EQ(bytes_of(target), "precious");
}

TEST(StatPublisher, RollsBackWhicheverCallFails) {
  const SharedFolder folder;
  SmallLayout layout;
  const Work work = {.run = [&]() -> Complaints {
                       // Of a run that could not remove it.
                       for (const std::string& file : folder.files())
                         fs::remove(folder.path() / file);
                       const StatPublisher publisher(layout, "chat", folder.path());
                       if (!read(publisher.path())) return {"not published"};
                       // Without its namespace nobody can tell whether it lives.
                       return {to_string(StatReader(publisher.path()).state())};
                     },
                     // Tidying up after others, and after itself.
                     .silent = {"opendir", "unlink"}};
  for (const int error : {ENOMEM, ENOSPC, EACCES}) EXPECT_GT(sweep(work, error), 8U);
}

TEST(StatPublisher, LeavesNoFileWhereItFails) {
  const SharedFolder folder;
  SmallLayout layout;
  int refusals = 0;
  for (std::uint64_t k = 1;; ++k) {
    std::optional<StatPublisher> publisher;
    const os::InjectFault fault(k, ENOMEM);
    try {
      publisher.emplace(layout, "chat", folder.path());
    } catch (const SystemError&) {
      ++refusals;
      EXPECT_THAT(folder.files(), IsEmpty()) << os::InjectFault::victim();
    }
    if (!os::InjectFault::fired()) break;
  }
  EXPECT_GE(refusals, 6);  // open, pread, open, fallocate, mmap, mmap, mremap, linkat
}

// Where it is called for every token.
TEST(StatPublisher, PublishesWithoutASystemCall) {
  const SharedFolder folder;
  SmallLayout layout;
  StatPublisher publisher(layout, "chat", folder.path());
  const os::InjectFault count(0, 0);
  publisher.publish();
  EXPECT_EQ(os::InjectFault::calls(), 0U);
}

}  // namespace
}  // namespace tapedeck::tests
