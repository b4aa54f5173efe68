// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/live/stat_reader.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "os/fault_sweep.hpp"
#include "os/file.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/live/stat_segment.hpp"
#include "telemetry/published.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace segment = internal::segment;
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

using Reader = InSharedMemory;
using PublishedFiles = InSharedMemory;

/// A published layout as bytes, and a folder for modified copies of it.
class Segment : public InSharedMemory {
 protected:
  using enum FormatFault;

  void SetUp() override {
    InSharedMemory::SetUp();
    if (IsSkipped()) return;
    const StatPublisher publisher(layout_, "chat", folder_.path());
    good_ = text_of(publisher.path());
    copy_ = publisher.path();
  }

  [[nodiscard]] fs::path written(const std::string& bytes) const {
    overwrite(copy_, bytes);
    return copy_;
  }
  [[nodiscard]] std::string with_word(std::size_t at, std::uint64_t word) const {
    std::string bytes = good_;
    set_word(bytes, at, word);
    return bytes;
  }
  static void look(const fs::path& path) {
    const StatReader reader(path);
    static_cast<void>(reader.state());
    static_cast<void>(reader.read());
  }
  /// The word at which a reader refuses the file, the name of the field there, and the fault.
  using Refusal = std::tuple<std::size_t, std::string, FormatFault>;
  [[nodiscard]] static Refusal format_refusal(const fs::path& path) {
    const auto error = thrown<FormatError>([&] { look(path); });
    EXPECT_EQ(error.path(), path.string());
    EXPECT_EQ(error.offset() % segment::kWord, 0U);
    return {error.offset() / segment::kWord, error.field(), error.fault()};
  }
  /// Returns the errno if the system refuses the file instead.
  [[nodiscard]] static int system_refusal(const fs::path& path) {
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
}

TEST_F(Segment, AnInvalidOneIsRefused) {
  const std::size_t end = good_.size() / segment::kWord;
  const std::size_t figures = segment::record_at() + segment::figures;
  const std::size_t gpus = figures + layout_fields().size() - 1;
  ASSERT_EQ(layout_fields().back().member, &Stat::gpus);
  EXPECT_NO_THROW(look(written(with_word(gpus, kMostGpus))));
  std::string endless = good_;
  for (std::size_t i = 0; i < segment::kNameWords; ++i) {
    set_word(endless, segment::name + i, 0x6161616161616161);
  }
  std::string other_figure = good_;
  const std::size_t letter = good_.find("committed") + 8;
  other_figure[letter] = 'e';
  const std::vector<std::pair<std::string, Refusal>> mutations = {
      {with_word(segment::magic, 0), {segment::magic, "magic", not_this_format}},
      {with_word(segment::version, segment::kVersion - 1),
       {segment::version, "version", not_this_format}},
      {with_word(segment::version, segment::kVersion + 1),
       {segment::version, "version", not_this_format}},
      {with_word(segment::words, 0), {segment::words, "words", contradictory}},
      {with_word(segment::words, kMost), {segment::words, "words", contradictory}},
      {with_word(segment::process, 0), {segment::process, "process", out_of_range}},
      {with_word(segment::process, 1ULL << 32), {segment::process, "process", out_of_range}},
      {with_word(segment::process, kMost), {segment::process, "process", out_of_range}},
      {with_word(segment::table_bytes, kMost), {segment::table_bytes, "table_bytes", out_of_range}},
      {with_word(segment::table_bytes, segment::kMostBytes), {end, "", cut_off}},
      {with_word(segment::table_bytes, 0), {segment::table, "layout", missing}},
      {with_word(segment::name, 0), {segment::name, "name", malformed}},
      {with_word(segment::name, 0x1B), {segment::name, "name", malformed}},
      {endless, {segment::name, "name", malformed}},
      {with_word(segment::table, 0), {segment::table, "layout", missing}},
      {other_figure, {letter / segment::kWord, "committed", missing}},
      {with_word(gpus, kMostGpus + 1), {figures, "gpus", out_of_range}},
      {with_word(gpus, kMost), {figures, "gpus", out_of_range}},
  };
  for (const auto& [bytes, refusal] : mutations) {
    EXPECT_EQ(format_refusal(written(bytes)), refusal);
  }
  const std::size_t last = segment::record_at() - 1;
  EXPECT_EQ(std::get<0>(format_refusal(written(with_word(last, 0)))), last);
}

TEST_F(Segment, ReadsNothingTornAndNoNegativeAge) {
  // The publisher was killed in the middle.
  EXPECT_FALSE(StatReader(written(with_word(segment::record_at(), 7))).read());
  const std::size_t published_at = segment::record_at() + segment::published_at;
  EXPECT_EQ(StatReader(written(with_word(published_at, kMost))).read()->age, 0U);
}

TEST_F(Segment, OfAnySizeIsRefused) {
  constexpr std::size_t kTable = segment::table * segment::kWord;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{8}, kTable - 1,
                                  kTable, good_.size() - 8, good_.size() - 1}) {
    EXPECT_THROW(look(written(good_.substr(0, bytes))), FormatError) << bytes;
  }
  EXPECT_THROW(look(written(good_ + '\0')), FormatError);
  EXPECT_THROW(look(written(good_ + std::string(good_.size(), '\0'))), FormatError);
  overwrite(copy_, good_);
  fs::resize_file(copy_, std::uint64_t{1} << 40);
  EXPECT_EQ(format_refusal(copy_), Refusal(0, "", not_this_format));
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

TEST_F(Segment, ThatIsNoOrdinaryFileIsRefused) {
  const fs::path target = folder_.path() / "target";
  overwrite(target, good_);
  const fs::path link = folder_.path() / "link";
  fs::create_symlink(target, link);
  EXPECT_EQ(system_refusal(link), ELOOP);
  const fs::path fifo = folder_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(format_refusal(fifo), Refusal(0, "", not_this_format));
  EXPECT_EQ(format_refusal(folder_.path()), Refusal(0, "", not_this_format));
  EXPECT_EQ(system_refusal(folder_.path() / "none"), ENOENT);
}

// Regression: a text file was refused for its rights.
TEST_F(Segment, ThatIsSomethingElseIsRefusedAsThat) {
  for (const std::string& text : {std::string("hello"), std::string(1000, 'x')}) {
    for (const mode_t mode : {0600U, 0644U}) {
      overwrite(copy_, text);
      ASSERT_EQ(::chmod(copy_.c_str(), mode), 0);
      const auto [offset, field, fault] = format_refusal(copy_);
      EXPECT_EQ(fault, not_this_format) << text.size();
    }
  }
}

TEST_F(Segment, ThatOthersMayReadWriteOrOwnIsRefused) {
  for (const mode_t mode : {0640U, 0620U, 0604U, 0602U, 0666U}) {
    overwrite(copy_, good_);
    ASSERT_EQ(::chmod(copy_.c_str(), mode), 0);
    EXPECT_EQ(system_refusal(copy_), EACCES) << mode;
  }
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  for (const std::string& bytes : {std::string("not a layout"), good_}) {
    overwrite(copy_, bytes);
    ASSERT_EQ(::chown(copy_.c_str(), 65'534, 65'534), 0);
    EXPECT_EQ(system_refusal(copy_), EACCES);
  }
  ASSERT_EQ(::chown(copy_.c_str(), 0, 0), 0);
  fs::permissions(folder_.path(), fs::perms(0755));
  in_child([&] {
    ASSERT_EQ(::setuid(65'534), 0);
    EXPECT_EQ(system_refusal(copy_), EACCES);
  });
}

// Whatever /proc shows of the process: it may be hidden, or have another number or start time here.
TEST_F(Segment, IsJudgedByItsLock) {
  struct Row {
    const char* name;
    std::string bytes;
    bool visible;
  };
  const std::vector<Row> rows = {
      {"of this process", good_, true},
      {"of a recycled process number",
       with_word(segment::start, word_of(good_, segment::start) + 1), false},
      {"of a process that /proc does not show", with_word(segment::process, 0x7FFF'FFFF), false},
      {"of another container", with_word(segment::pid_namespace, 1), false}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    overwrite(copy_, row.bytes);
    const StatReader reader(copy_);
    EXPECT_EQ(reader.process_visible(), row.visible);
    EXPECT_EQ(reader.state(), PublisherState::dead);
    const os::Descriptor owner(::open(copy_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(os::lock_file(owner.get()), 0);
    EXPECT_EQ(reader.state(), PublisherState::running);
  }
}

TEST_F(Segment, OfADeadPublisherIsRemovedByTheNextOfItsName) {
  const fs::path path = folder_.path() / "tapedeck.2147483647.1.chat";
  for (const bool lives : {true, false}) {
    overwrite(path, good_);
    const os::Descriptor owner(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (lives) {
      ASSERT_EQ(os::lock_file(owner.get()), 0);
    }
    const StatPublisher publisher(layout_, "chat", folder_.path());
    EXPECT_EQ(fs::exists(path), lives);
  }
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

// It has not been waited for yet, but it will not publish any more.
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

TEST_F(PublishedFiles, AreFoundByTheirNames) {
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
