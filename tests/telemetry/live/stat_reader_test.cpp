#include "tapedeck/telemetry/live/stat_reader.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "os/fault_sweep.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/live/stat_segment.hpp"
#include "telemetry/published.hpp"

namespace tapedeck::tests {
namespace segment = internal::segment;
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

using Reader = InSharedMemory;
using PublishedFiles = InSharedMemory;

/// A published layout as bytes, and a place to put what was made of them.
class Segment : public InSharedMemory {
 protected:
  void SetUp() override {
    InSharedMemory::SetUp();
    if (IsSkipped()) return;
    const StatPublisher publisher(layout_, "chat", folder_.path());
    good_ = bytes_of(publisher.path());
    copy_ = publisher.path();
  }

  [[nodiscard]] fs::path written(const std::string& bytes) const {
    overwrite(copy_, bytes);
    return copy_;
  }
  [[nodiscard]] fs::path with_word(std::size_t at, std::uint64_t word) const {
    std::string bytes = good_;
    set_word(bytes, at, word);
    return written(bytes);
  }
  static void look(const fs::path& path) {
    const StatReader reader(path);
    static_cast<void>(reader.state());
    static_cast<void>(reader.read());
  }
  /// The word at which a reader finds that it is none.
  [[nodiscard]] static std::size_t refused_at(const fs::path& path) {
    const auto error = thrown<FormatError>([&] { look(path); });
    EXPECT_EQ(error.path(), path.string());
    return error.offset() / sizeof(std::uint64_t);
  }
  /// What the system says instead.
  [[nodiscard]] static int refusal(const fs::path& path) {
    return thrown<SystemError>([&] { look(path); }).number();
  }

  SmallLayout layout_;
  std::string good_;
  fs::path copy_;
};

TEST_F(Segment, IsReadWhereverItLies) {
  const StatReader reader(written(good_));
  EXPECT_TRUE(reader.read());
  EXPECT_EQ(reader.published().process, ::getpid());
  EXPECT_EQ(reader.published().name, "chat");
  EXPECT_EQ(reader.state(), PublisherState::running);
}

struct Mutation {
  std::size_t word;
  std::uint64_t value;
  std::size_t refused_at;
};

TEST_F(Segment, IsRefusedWhereItIsNone) {
  const std::vector<Mutation> mutations = {
      {segment::magic, 0, segment::magic},
      {segment::version, segment::kVersion - 1, segment::version},
      {segment::version, segment::kVersion + 1, segment::version},
      {segment::words, 0, segment::words},
      {segment::words, ~std::uint64_t{0}, segment::words},
      {segment::process, 0, segment::process},
      {segment::process, std::uint64_t{1} << 32, segment::process},
      {segment::process, ~std::uint64_t{0}, segment::process},
      {segment::table_bytes, ~std::uint64_t{0}, segment::table_bytes},
      {segment::table_bytes, segment::kMostBytes, good_.size() / sizeof(std::uint64_t)},
      {segment::table_bytes, 0, segment::table},
      {segment::name, 0, segment::name},
      {segment::name, 0x1B, segment::name},
      {segment::table, 0, segment::table},
      {segment::record_at() - 1, 0, segment::record_at() - 1},
  };
  for (const Mutation& mutation : mutations) {
    EXPECT_EQ(refused_at(with_word(mutation.word, mutation.value)), mutation.refused_at);
  }
}

TEST_F(Segment, NeedNotHaveAnEndToItsName) {
  std::string bytes = good_;
  for (std::size_t i = 0; i < segment::kNameWords; ++i) {
    set_word(bytes, segment::name + i, 0x6161616161616161);
  }
  EXPECT_EQ(refused_at(written(bytes)), std::size_t{segment::name});
}

TEST_F(Segment, OfAnotherListSaysWhichFigureIsMissing) {
  std::string bytes = good_;
  const std::size_t last = bytes.find("committed") + 8;
  bytes[last] = 'e';
  EXPECT_EQ(refused_at(written(bytes)), last / sizeof(std::uint64_t));
  EXPECT_THAT(thrown<FormatError>([this] { look(copy_); }).what(), HasSubstr("\"committed\""));
}

TEST_F(Segment, WithMoreDevicesThanThereAreIsRefused) {
  const std::string& table = segment::table_text();
  const std::string fields = table.substr(0, table.find(" gpus"));
  const auto gpus = static_cast<std::size_t>(std::count(fields.begin(), fields.end(), ' '));
  const std::size_t at = segment::record_at() + segment::figures + gpus;
  ASSERT_EQ(word_of(good_, at), 0U);
  EXPECT_NO_THROW(look(with_word(at, kMostGpus)));
  const std::size_t figures = segment::record_at() + segment::figures;
  EXPECT_EQ(refused_at(with_word(at, kMostGpus + 1)), figures);
  EXPECT_EQ(refused_at(with_word(at, ~std::uint64_t{0})), figures);
}

TEST_F(Segment, ThatNeverHoldsStillIsSaid) {
  const StatReader reader(with_word(segment::record_at(), 7));  // killed amidst
  EXPECT_FALSE(reader.read());
}

TEST_F(Segment, OfTheFutureHasNoAge) {
  const StatReader reader(
      with_word(segment::record_at() + segment::published_at, ~std::uint64_t{0}));
  EXPECT_EQ(reader.read()->age, 0U);
}

TEST_F(Segment, OfAnySizeIsRefused) {
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{8}, segment::table * 8 - 1, segment::table * 8,
        good_.size() - 8, good_.size() - 1}) {
    EXPECT_THROW(look(written(good_.substr(0, bytes))), FormatError) << bytes;
  }
  EXPECT_THROW(look(written(good_ + '\0')), FormatError);
  EXPECT_THROW(look(written(good_ + std::string(good_.size(), '\0'))), FormatError);
  overwrite(copy_, good_);
  fs::resize_file(copy_, std::uint64_t{1} << 40);
  EXPECT_EQ(refused_at(copy_), 0U);
}

TEST_F(Segment, MayBecomeShorterWhileItIsRead) {
  const StatReader reader(written(good_));
  ASSERT_TRUE(reader.read());
  fs::resize_file(copy_, good_.size() - 8);
  EXPECT_THROW((void)reader.read(), FormatError);
  fs::resize_file(copy_, 0);
  EXPECT_THROW((void)reader.read(), FormatError);
  EXPECT_THROW((void)reader.state(), FormatError);
}

TEST_F(Segment, OfRandomBytesNeverHarms) {
  std::mt19937_64 random(1);
  std::size_t read = 0;
  std::size_t refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = good_;
    const auto changes = 1 + random() % 4;
    for (std::uint64_t i = 0; i < changes; ++i) {
      // Half of them where every word means something.
      const std::size_t end = random() % 2 == 0 ? segment::record_at() * 8 : bytes.size();
      bytes[random() % end] = static_cast<char>(random());
    }
    // An odd sequence takes a thousand tries to give up.
    set_word(bytes, segment::record_at(), word_of(bytes, segment::record_at()) & ~std::uint64_t{1});
    try {
      look(written(bytes));
      ++read;
    } catch (const FormatError&) {
      ++refused;
    }
  }
  EXPECT_GT(read, 100U);
  EXPECT_GT(refused, 100U);
}

TEST_F(Segment, ThatIsNoOrdinaryFileIsRefused) {
  const fs::path target = folder_.path() / "target";
  overwrite(target, good_);
  const fs::path link = folder_.path() / "link";
  fs::create_symlink(target, link);
  EXPECT_EQ(refusal(link), ELOOP);
  const fs::path fifo = folder_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(refused_at(fifo), 0U);
  EXPECT_EQ(refused_at(folder_.path()), 0U);
  EXPECT_EQ(refusal(folder_.path() / "none"), ENOENT);
}

TEST_F(Segment, ThatOthersMayReadOrWriteIsRefused) {
  for (const mode_t mode : {0640U, 0620U, 0604U, 0602U, 0666U}) {
    overwrite(copy_, good_);
    ASSERT_EQ(::chmod(copy_.c_str(), mode), 0);
    EXPECT_EQ(refusal(copy_), EACCES) << mode;
  }
}

TEST_F(Segment, OfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  overwrite(copy_, good_);
  ASSERT_EQ(::chown(copy_.c_str(), 65'534, 65'534), 0);
  EXPECT_EQ(refusal(copy_), EACCES);
  ASSERT_EQ(::chown(copy_.c_str(), 0, 0), 0);
  fs::permissions(folder_.path(), fs::perms(0755));
  in_child([&] {
    ASSERT_EQ(::setuid(65'534), 0);
    EXPECT_EQ(refusal(copy_), EACCES);
  });
}

TEST_F(Segment, OfARecycledProcessNumberIsDead) {
  const StatReader reader(with_word(segment::start, word_of(good_, segment::start) + 1));
  EXPECT_EQ(reader.state(), PublisherState::dead);
  EXPECT_TRUE(reader.read());
  // And its file has another name than that of who has the number now.
  const StatPublisher publisher(layout_, "chat", folder_.path());
  EXPECT_THAT(folder_.files(), ElementsAre(publisher.path().filename()));
}

TEST_F(Segment, OfAnotherContainerIsNeverCalledDead) {
  std::string bytes = good_;
  set_word(bytes, segment::pid_namespace, 1);
  set_word(bytes, segment::process, 0x7FFF'FFFF);
  const fs::path path = folder_.path() / "tapedeck.2147483647.1.chat";
  overwrite(path, bytes);
  EXPECT_EQ(StatReader(path).state(), PublisherState::unknown);
  const StatPublisher publisher(layout_, "chat", folder_.path());
  EXPECT_TRUE(fs::exists(path));
}

TEST_F(Reader, SeesItsPublisherDie) {
  OtherPublisher other(folder_.path(), "chat");
  const StatReader reader(other.path());
  EXPECT_EQ(reader.state(), PublisherState::running);
  EXPECT_EQ(reader.read()->stat.weights.used, 3_MiB);
  other.kill();
  EXPECT_EQ(reader.state(), PublisherState::dead);
  EXPECT_EQ(reader.read()->stat.weights.used, 3_MiB);
  EXPECT_EQ(StatReader(other.path()).state(), PublisherState::dead);
}

// Nobody has asked how it ended yet; it will not publish any more.
TEST_F(Reader, CallsAZombieDead) {
  const pid_t child = ::fork();
  if (child == 0) {
    SmallLayout layout;
    const StatPublisher publisher(layout, "chat", folder_.path());
    ::kill(::getpid(), SIGKILL);
  }
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto all = published_layouts(folder_.path());
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(StatReader(all[0].path).state(), PublisherState::dead);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(StatReader(all[0].path).state(), PublisherState::dead);
}

TEST_F(Reader, NoticesEveryCallThatFails) {
  SmallLayout layout;
  const StatPublisher publisher(layout, "chat", folder_.path());
  const Work work = {.run = [&]() -> Complaints {
    const StatReader reader(publisher.path());
    return {reader.read() ? "read" : "not read", to_string(reader.state())};
  }};
  for (const int error : {EIO, EACCES}) EXPECT_GT(sweep(work, error), 8U);
}

TEST_F(PublishedFiles, AreWhatIsCalledSo) {
  for (const char* const name :
       {"tapedeck", "tapedeck.", "tapedeck.1", "tapedeck.1.2", "tapedeck.1.2.", "tapedeck.x.2.a",
        "tapedeck.0.2.a", "tapedeck.-1.2.a", "tapedeck.99999999999.2.a", "tapedeck.1.2.a b",
        "tapedeck.1.2.\x1b[2J", "other.1.2.a", "tapedeck-1.2.a"}) {
    overwrite(folder_.path() / name, "");
  }
  EXPECT_THAT(published_layouts(folder_.path()), IsEmpty());
  overwrite(folder_.path() / "tapedeck.12.345.a.b", "");
  const auto all = published_layouts(folder_.path());
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].process, 12);
  EXPECT_EQ(all[0].name, "a.b");
  EXPECT_THROW((void)published_layouts("/no/such/folder"), SystemError);
}

}  // namespace
}  // namespace tapedeck::tests
