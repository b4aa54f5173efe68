// SPDX-License-Identifier: Apache-2.0
// Files that are changed, truncated, replaced or removed between any two steps. The result is a
// typed error that names the file, or the bytes of the file that was opened, but never other bytes.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stop_token>
#include <string>
#include <tuple>
#include <vector>

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

constexpr std::uint64_t kFileBytes = 30_MiB;
constexpr std::uint64_t kCut = 12_MiB;  // inside the second chunk

enum class When { before_opening, behind_the_header, after_opening, during_the_warm, after_a_stop };

struct Change {
  const char* name;
  When when;
  void (*act)(const TempFolder& folder, const fs::path& path);
  std::optional<FormatFault> fault{};  ///< `nullopt` if the bytes that were opened still arrive.
};

template <std::uint64_t Bytes>
void resize_to(const TempFolder& /*folder*/, const fs::path& path) {
  fs::resize_file(path, Bytes);
}
void overwrite_a_byte(const TempFolder& /*folder*/, const fs::path& path) {
  std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
  out.seekp(static_cast<std::streamoff>(kCut));
  out.put('!');
}
// The correct method to write a model: a new file and a rename, which disturbs no reader.
void replace_file(const TempFolder& folder, const fs::path& path) {
  fs::rename(make_file(folder, "b", {.sizes = {kFileBytes}, .first = 100}), path);
}
void delete_file(const TempFolder& /*folder*/, const fs::path& path) { fs::remove(path); }

std::vector<Change> all_changes() {
  using enum When;
  using enum FormatFault;
  return {
      {"CutOffBeforeOpening", before_opening, resize_to<kCut>, cut_off},
      {"OverwrittenBehindTheHeader", behind_the_header, overwrite_a_byte, changed},
      {"ReplacedBehindTheHeader", behind_the_header, replace_file, changed},
      {"CutOffAfterOpening", after_opening, resize_to<kCut>, cut_off},
      {"CutOffToNothing", after_opening, resize_to<0>, cut_off},
      {"CutOffDuringTheWarm", during_the_warm, resize_to<kCut>, cut_off},
      {"OverwrittenAfterOpening", after_opening, overwrite_a_byte, changed},
      {"OverwrittenDuringTheWarm", during_the_warm, overwrite_a_byte, changed},
      {"GrownDuringTheWarm", during_the_warm, resize_to<2 * kFileBytes>, changed},
      // A mixture of two files must not be accepted as one of them because a warm was stopped in
      // between.
      {"OverwrittenAfterAStop", after_a_stop, overwrite_a_byte, changed},
      {"ReplacedAfterOpening", after_opening, replace_file},
      {"ReplacedDuringTheWarm", during_the_warm, replace_file},
      {"DeletedAfterOpening", after_opening, delete_file},
  };
}

class ChangedFile : public ::testing::TestWithParam<std::tuple<Way, Change>> {
 protected:
  static void SetUpTestSuite() { make_what_is_made_once(1); }

  void SetUp() override {
    path_ = make_file(folder_, "a.safetensors", {.sizes = {6_MiB, 6_MiB, 6_MiB, 6_MiB, 6_MiB}});
    store_and_make_cold(path_);
    before_ = holdings();
  }
  void TearDown() override {
    weights_.reset();
    EXPECT_TRUE(same(before_, holdings()));
  }

  [[nodiscard]] static Way way() { return std::get<0>(GetParam()); }
  [[nodiscard]] static const Change& change() { return std::get<1>(GetParam()); }

  void change_if(When now) const {
    if (change().when == now) change().act(folder_, path_);
  }

  // Opens and loads the model, with the change at its time.
  void live() {
    change_if(When::before_opening);
    const Model model = read_model(path_);
    change_if(When::behind_the_header);
    weights_ = Weights::open(model, {.way = way()});
    change_if(When::after_opening);
    std::stop_source stop;
    if (change().when == When::after_a_stop) {
      static_cast<void>(weights_->warm({.threads = 1,
                                        .stop = stop.get_token(),
                                        .progress = [&](auto) { stop.request_stop(); }}));
    }
    change_if(When::after_a_stop);
    bool first = true;
    EXPECT_TRUE(weights_->warm({.threads = 1, .progress = [&](auto) {
                                  if (first) change_if(When::during_the_warm);
                                  first = false;
                                }}));
  }

  void expect_told(const FormatError& error) const {
    EXPECT_EQ(error.path(), path_.string());
    // Direct reads that were in flight by then may have got their bytes.
    const bool direct = weights_ && weights_->files()[0].way == Way::direct;
    const bool late = direct && change().when == When::during_the_warm;
    if (late && error.fault() == FormatFault::changed) return;
    // Before it is opened, the model's reader reports it.
    if (change().when != When::before_opening) {
      EXPECT_EQ(error.fault(), change().fault);
    }
    if (change().fault == FormatFault::changed) return;
    // The first missing byte of those requested, which are after the header.
    EXPECT_GE(error.offset(), fs::file_size(path_));
    EXPECT_LE(error.offset(), fs::file_size(path_) + (direct ? 16_MiB : 1_KiB));
  }

  // After a warm has reported that the file changed, nothing that was read from it may be used.
  void expect_nothing_readable() const {
    for (std::size_t i = 0; i < weights_->size(); ++i) {
      EXPECT_EQ(weights_->readable(i), weights_->files()[0].way == Way::map);
      EXPECT_FALSE(weights_->warmed(i));
    }
  }

  TempFolder folder_;
  fs::path path_;
  Holdings before_;
  std::optional<Weights> weights_;
};

INSTANTIATE_TEST_SUITE_P(Way, ChangedFile,
                         ::testing::Combine(::testing::ValuesIn(kWays),
                                            ::testing::ValuesIn(all_changes())),
                         [](const auto& one) {
                           return std::string(to_string(std::get<0>(one.param))) + "_" +
                                  std::get<1>(one.param).name;
                         });

TEST_P(ChangedFile, IsToldOrGivesTheBytesThatWereOpened) {
  if (change().fault) {
    expect_told(thrown<FormatError>([&] { live(); }));
    if (!weights_) return;
    EXPECT_FALSE(weights_->warmed(weights_->size() - 1));
    if (change().fault == FormatFault::changed) expect_nothing_readable();
    // However often it is called.
    EXPECT_EQ(thrown<FormatError>([&] { return weights_->warm({.threads = 1}); }).path(), path_);
    return;
  }
  live();
  EXPECT_TRUE(all_right(*weights_));
  static_cast<void>(weights_->decommit());
  EXPECT_TRUE(weights_->warm({.threads = 1}));
  EXPECT_TRUE(all_right(*weights_));
}

TEST(ChangedFileErrors, DeletedBehindTheHeaderIsNotThere) {
  const TempFolder folder;
  const fs::path path = make_file(folder, "a.safetensors", {.sizes = {9000}});
  const Model model = read_model(path);
  fs::remove(path);
  const auto error = thrown<SystemError>([&] { return Weights::open(model); });
  EXPECT_EQ(error.number(), ENOENT);
  EXPECT_EQ(error.path(), path.string());
}

}  // namespace
}  // namespace tapedeck::tests
