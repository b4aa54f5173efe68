// Files that somebody changes, cuts off, replaces or takes away between any two steps: a typed
// error that names the file, or the bytes of the file that was opened; never others.
#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/thrown.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/made_models.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::uint64_t kCut = 12_MiB;  // inside the second chunk

class ChangedFile : public ::testing::TestWithParam<Way> {
 protected:
  static void SetUpTestSuite() {
    const TempFolder folder;
    const fs::path path = make_file(folder, "a.safetensors", {.sizes = {9_MiB, 9_MiB}});
    for (const Way way : {Way::read, Way::direct}) {
      make_cold(path);
      Weights weights = Weights::open(path, {.way = way});
      static_cast<void>(weights.warm({.threads = 1}));
    }
  }

  void SetUp() override {
    path_ = make_file(folder_, "a.safetensors", file_);
    make_cold(path_);
    before_ = holdings();
  }
  void TearDown() override { EXPECT_TRUE(same(before_, holdings())); }

  [[nodiscard]] Weights open() const { return Weights::open(path_, {.way = GetParam()}); }

  // One of our errors, about this file.
  [[nodiscard]] FormatError format_error_of(const std::function<void()>& work) const {
    try {
      work();
    } catch (const FormatError& error) {
      EXPECT_EQ(error.path(), path_.string());
      EXPECT_THAT(error.what(), HasSubstr(path_.string()));
      EXPECT_NE(error.advice(), "");
      return error;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "another error: " << error.what();
      return {"", 0, ""};
    }
    ADD_FAILURE() << "no error";
    return {"", 0, ""};
  }

  // Once a warm told that the file is another one, nothing that was read of it is to be used.
  static void expect_nothing_readable(const Weights& weights) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const bool mapped = weights.files()[0].way == Way::map;
      EXPECT_EQ(weights.readable(i), mapped);
      EXPECT_FALSE(weights.warmed(i));
    }
  }

  void overwrite_a_byte() const {
    std::fstream out(path_, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(static_cast<std::streamoff>(kCut));
    out.put('!');
  }

  // Runs a warm, and `change` when the first chunk is there.
  [[nodiscard]] static WarmResult warm_and(Weights& weights, const std::function<void()>& change) {
    bool done = false;
    return weights.warm({.threads = 1, .progress = [&](auto) {
                           if (!done) change();
                           done = true;
                         }});
  }

  const FileToMake file_ = {.sizes = {6_MiB, 6_MiB, 6_MiB, 6_MiB, 6_MiB}};
  TempFolder folder_;
  fs::path path_;
  Holdings before_;
};

INSTANTIATE_TEST_SUITE_P(Way, ChangedFile, ::testing::ValuesIn(kWays), name_of_way);

TEST_P(ChangedFile, CutOffBeforeItIsOpenedIsToldAtOnce) {
  fs::resize_file(path_, kCut);
  const FormatError error = format_error_of([&] { static_cast<void>(open()); });
  EXPECT_EQ(error.offset(), kCut);
}

TEST_P(ChangedFile, CutOffBeforeTheWarmIsToldWithTheByte) {
  Weights weights = open();
  fs::resize_file(path_, kCut);
  const FormatError error =
      format_error_of([&] { static_cast<void>(weights.warm({.threads = 1})); });
  EXPECT_GE(error.offset(), kCut);
  EXPECT_LE(error.offset(), fs::file_size(path_) + 16_MiB);
  EXPECT_FALSE(weights.warmed(weights.size() - 1));
}

TEST_P(ChangedFile, CutOffToNothingIsTold) {
  Weights weights = open();
  fs::resize_file(path_, 0);
  const FormatError error =
      format_error_of([&] { static_cast<void>(weights.warm({.threads = 1})); });
  EXPECT_LT(error.offset(), 30_MiB);
}

TEST_P(ChangedFile, CutOffDuringTheWarmIsTold) {
  Weights weights = open();
  const FormatError error = format_error_of(
      [&] { static_cast<void>(warm_and(weights, [&] { fs::resize_file(path_, kCut); })); });
  // Reads that were under way by then may have had their bytes; the change is told all the same.
  const bool exact = weights.files()[0].way != Way::direct;
  EXPECT_TRUE(!exact || error.offset() == kCut) << error.offset();
  EXPECT_FALSE(weights.warmed(weights.size() - 1));
}

// What was cut off stays an error, however often one asks.
TEST_P(ChangedFile, CutOffIsToldAgain) {
  Weights weights = open();
  fs::resize_file(path_, kCut);
  for (int time = 0; time < 3; ++time) {
    static_cast<void>(format_error_of([&] { static_cast<void>(weights.warm({.threads = 1})); }));
  }
}

TEST_P(ChangedFile, OverwrittenBeforeTheWarmIsTold) {
  Weights weights = open();
  overwrite_a_byte();
  const FormatError error =
      format_error_of([&] { static_cast<void>(weights.warm({.threads = 1})); });
  EXPECT_THAT(error.what(), HasSubstr("changed"));
  expect_nothing_readable(weights);
}

TEST_P(ChangedFile, OverwrittenDuringTheWarmIsTold) {
  Weights weights = open();
  static_cast<void>(
      format_error_of([&] { static_cast<void>(warm_and(weights, [&] { overwrite_a_byte(); })); }));
  expect_nothing_readable(weights);
}

TEST_P(ChangedFile, GrownDuringTheWarmIsTold) {
  Weights weights = open();
  static_cast<void>(format_error_of(
      [&] { static_cast<void>(warm_and(weights, [&] { fs::resize_file(path_, 64_MiB); })); }));
  expect_nothing_readable(weights);
}

// A mixture of two files must not be taken for one of them because somebody stopped in between.
TEST_P(ChangedFile, OverwrittenBetweenAStopAndTheNextWarmIsTold) {
  Weights weights = open();
  std::stop_source stop;
  static_cast<void>(weights.warm(
      {.threads = 1, .stop = stop.get_token(), .progress = [&](auto) { stop.request_stop(); }}));
  overwrite_a_byte();
  static_cast<void>(format_error_of([&] { static_cast<void>(weights.warm({.threads = 1})); }));
  expect_nothing_readable(weights);
}

TEST_P(ChangedFile, OverwrittenBetweenHeaderAndOpeningIsTold) {
  const Model model = read_model(path_);
  overwrite_a_byte();
  static_cast<void>(
      format_error_of([&] { static_cast<void>(Weights::open(model, {.way = GetParam()})); }));
}

TEST_P(ChangedFile, ReplacedBetweenHeaderAndOpeningIsTold) {
  const Model model = read_model(path_);
  make_file(folder_, "b", file_);
  fs::rename(folder_ / "b", path_);
  static_cast<void>(
      format_error_of([&] { static_cast<void>(Weights::open(model, {.way = GetParam()})); }));
}

TEST_P(ChangedFile, DeletedBetweenHeaderAndOpeningIsTold) {
  const Model model = read_model(path_);
  fs::remove(path_);
  const auto error =
      thrown<SystemError>([&] { static_cast<void>(Weights::open(model, {.way = GetParam()})); });
  EXPECT_EQ(error.number(), ENOENT);
  EXPECT_EQ(error.path(), path_.string());
}

// Who writes a model as one should, a new file and a rename, disturbs nobody.
TEST_P(ChangedFile, ReplacedAfterOpeningGivesTheBytesThatWereOpened) {
  Weights weights = open();
  make_file(folder_, "b", {.sizes = {30_MiB}, .first = 100});
  fs::rename(folder_ / "b", path_);
  EXPECT_TRUE(weights.warm({.threads = 1}));
  EXPECT_TRUE(all_right(weights));
}

TEST_P(ChangedFile, ReplacedDuringTheWarmGivesTheBytesThatWereOpened) {
  Weights weights = open();
  make_file(folder_, "b", {.sizes = {30_MiB}, .first = 100});
  EXPECT_TRUE(warm_and(weights, [&] { fs::rename(folder_ / "b", path_); }));
  EXPECT_TRUE(all_right(weights));
}

TEST_P(ChangedFile, DeletedAfterOpeningGivesTheBytesThatWereOpened) {
  Weights weights = open();
  fs::remove(path_);
  EXPECT_TRUE(weights.warm({.threads = 1}));
  EXPECT_TRUE(all_right(weights));
  static_cast<void>(weights.decommit());
  EXPECT_TRUE(weights.warm({.threads = 1}));
  EXPECT_TRUE(all_right(weights));
}

}  // namespace
}  // namespace tapedeck::tests
