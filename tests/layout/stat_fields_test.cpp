// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/stat_fields.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <regex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::Contains;

struct Span {
  std::size_t offset;
  std::size_t bytes;
};

/// Gives every word of the struct a number, except those in `others`, which are not figures or have
/// rows of their own. Each number must appear in exactly one row.
template <class Figures>
void every_member_has_a_row(std::span<const StatField<Figures>> fields,
                            std::initializer_list<Span> others) {
  constexpr std::uint64_t kFirst = 1'000'003;
  Figures figures;
  std::vector<std::uint64_t> wanted;
  for (std::size_t at = 0; at + 8 <= sizeof(Figures); at += 8) {
    bool other = false;
    for (const Span& span : others) {
      other = other || (at < span.offset + span.bytes && span.offset < at + 8);
    }
    if (other) continue;
    const std::uint64_t number = kFirst + at * 1'000'003;
    std::memcpy(reinterpret_cast<std::byte*>(&figures) + at, &number, sizeof number);
    wanted.push_back(number);
  }
  std::vector<std::uint64_t> told;
  told.reserve(fields.size());
  for (const StatField<Figures>& field : fields) told.push_back(field.of(figures));
  for (const std::uint64_t number : wanted) {
    EXPECT_THAT(told, Contains(number).Times(1)) << "word " << (number - kFirst) / 8 / 1'000'003;
  }
  EXPECT_FALSE(wanted.empty());
}

TEST(StatFields, HaveARowForEveryFigureOfATape) {
  every_member_has_a_row(tape_fields(), {{offsetof(TapeStat, unmet), sizeof(TapeStat::unmet)}});
}

TEST(StatFields, HaveARowForEveryFigureOfALayout) {
  every_member_has_a_row(layout_fields(), {{offsetof(Stat, size), 8},
                                           {offsetof(Stat, weights), sizeof(TapeStat)},
                                           {offsetof(Stat, scratch), sizeof(TapeStat)},
                                           {offsetof(Stat, history), sizeof(TapeStat)},
                                           {offsetof(Stat, gpu), sizeof(Stat::gpu)}});
}

TEST(StatFields, HaveARowForEveryFigureOfADevice) {
  every_member_has_a_row(device_fields(), {{offsetof(DeviceStat, weights), sizeof(TapeStat)},
                                           {offsetof(DeviceStat, scratch), sizeof(TapeStat)},
                                           {offsetof(DeviceStat, history), sizeof(TapeStat)}});
}

template <class Figures>
void names_are_fit_for_all(std::span<const StatField<Figures>> fields) {
  std::set<std::string> names;
  for (const StatField<Figures>& field : fields) {
    EXPECT_TRUE(std::regex_match(field.name, std::regex("[a-z][a-z_]*[a-z]"))) << field.name;
    // Exporters add these suffixes themselves.
    EXPECT_FALSE(std::regex_search(field.name, std::regex("_(bytes|total|seconds|ratio)$")));
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
    EXPECT_TRUE(std::string(field.help).ends_with('.')) << field.name;
  }
}

TEST(StatFields, HaveNamesThatEveryExporterCanUse) {
  names_are_fit_for_all(tape_fields());
  names_are_fit_for_all(layout_fields());
  names_are_fit_for_all(device_fields());
}

template <class Figures>
std::uint64_t figure(std::span<const StatField<Figures>> fields, const std::string& name,
                     const Figures& figures) {
  for (const StatField<Figures>& field : fields) {
    if (field.name == name) return field.of(figures);
  }
  ADD_FAILURE() << "no field " << name;
  return 0;
}

TEST(StatFields, ComputeHeadroom) {
  EXPECT_EQ(figure(tape_fields(), "headroom", TapeStat{.reserved = 100, .used = 30}), 70U);
  EXPECT_EQ(figure(tape_fields(), "headroom", TapeStat{.reserved = 100, .used = 101}), 0U);
}

TEST(StatFields, CountWishesThatWereNotMet) {
  EXPECT_EQ(figure(tape_fields(), "unmet_wishes", TapeStat{}), 0U);
  EXPECT_EQ(figure(tape_fields(), "unmet_wishes", TapeStat{.unmet = {ENOMEM, 0, EPERM}}), 2U);
}

TEST(StatFields, SumWhatADeviceHasCommitted) {
  const DeviceStat device = {
      .weights = {.committed = 1}, .scratch = {.committed = 20}, .history = {.committed = 300}};
  EXPECT_EQ(figure(device_fields(), "committed", device), 321U);
}

TEST(StatFields, KnowWhatIsUnknown) {
  const auto known = [](const auto& fields, const auto& figures) {
    std::set<std::string> names;
    for (const auto& field : fields) {
      const std::optional<std::uint64_t> value = field.known(figures);
      EXPECT_EQ(value.value_or(field.of(figures)), field.of(figures)) << field.name;
      if (!value) names.insert(field.name);
      EXPECT_TRUE(value || field.may_be_unknown()) << field.name;
    }
    return names;
  };
  using Names = std::set<std::string>;
  const Names of_tokens = {"tokens",       "room",           "capacity",
                           "longest_talk", "cleared_tokens", "history_budget"};
  const Names of_limits = {"room", "capacity", "history_budget"};
  EXPECT_EQ(known(tape_fields(), TapeStat{}), Names{"page_size"});
  EXPECT_EQ(known(tape_fields(), TapeStat{.page_size = 4096}), Names{});
  EXPECT_EQ(known(layout_fields(), Stat{}), of_tokens);
  EXPECT_EQ(known(layout_fields(), Stat{.history = {.planned = 64}}), of_limits);
  EXPECT_EQ(known(layout_fields(), Stat{.capacity = 1, .history_budget = 1}), Names{});
  EXPECT_EQ(known(device_fields(), DeviceStat{}), of_tokens);
  EXPECT_EQ(known(device_fields(), DeviceStat{.longest_talk = 1}), of_limits);
  EXPECT_EQ(known(device_fields(), DeviceStat{.capacity = 1, .history_budget = 1}), Names{});
}

// A figure that a clear lowers is not a counter.
TEST(StatFields, KnowWhatOnlyGoesUp) {
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  (void)layout.scratch().take(1000);
  const TapeStat before = layout.stat().scratch;
  layout.clear_pass();
  const TapeStat after = layout.stat().scratch;
  for (const StatField<TapeStat>& field : tape_fields()) {
    if (field.kind == StatKind::gauge) continue;
    EXPECT_GE(field.of(after), field.of(before)) << field.name;
  }
}

}  // namespace
}  // namespace tapedeck::tests
