// SPDX-License-Identifier: Apache-2.0
// Each way to make a tape, with each of its options: the option takes effect, or is refused.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "layout/side_plan.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/pattern.hpp"
#include "os/resident_ledger.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/device/pinned_tape.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::size_t kWayBytes = 1_MiB;
constexpr std::size_t kStep = 64_KiB;

/// Makes a tape with the options, and calls the function with it.
using Use = std::function<void(Tape&)>;
struct Way {
  std::string name;
  std::function<void(const TapeOptions&, const Use&)> with;
};

Way way_of(const char* name, Tape (*make)(const TapeOptions&)) {
  return {name, [make](const TapeOptions& options, const Use& use) {
            Tape tape = make(options);
            use(tape);
          }};
}

Way way_of_layout(const std::string& name, TapeOptions LayoutOptions::*member,
                  Tape& (*tape_of_layout)(Layout&), Layout (*make)(LayoutOptions)) {
  return {name, [=](const TapeOptions& options, const Use& use) {
            LayoutOptions all;
            all.*member = options;
            Layout layout = make(all);
            use(tape_of_layout(layout));
          }};
}

template <Commit kCommit>
Layout planned(LayoutOptions options) {
  options.commit = kCommit;
  options.extra = {.weights = kWayBytes, .scratch = kWayBytes, .history = kWayBytes};
  return Layout(side_plan(), std::move(options));
}
Layout of_sizes(LayoutOptions options) {
  return Layout({.weights = kWayBytes, .scratch = kWayBytes, .history = kWayBytes},
                std::move(options));
}

std::vector<Way> ways() {
  std::vector<Way> all = {
      way_of("start", [](const TapeOptions& o) { return Tape::start(kWayBytes, o); }),
      way_of("start_warm", [](const TapeOptions& o) { return Tape::start_warm(kWayBytes, o); }),
      way_of("over", [](const TapeOptions& o) { return Tape::over(Block::reserve(kWayBytes), o); }),
      way_of("over shared memory",
             [](const TapeOptions& o) { return Tape::over(Block::create_shared(kWayBytes), o); }),
      {"behind",
       [](const TapeOptions& options, const Use& use) {
         Block whole = Block::reserve(2 * kWayBytes);
         Tape tape =
             Tape::behind({whole.data(), kWayBytes}, whole.part(kWayBytes, kWayBytes), options);
         use(tape);
       }},
      {"pinned",
       [](const TapeOptions& options, const Use& use) {
         HostDevice device({.memory = 1_MiB});
         Tape tape = start_pinned(device, kWayBytes, options);
         use(tape);
       }},
  };
  using Member = std::pair<TapeOptions LayoutOptions::*, Tape& (*)(Layout&)>;
  const std::pair<const char*, Member> members[] = {
      {"weights",
       {&LayoutOptions::weights, [](Layout& layout) -> Tape& { return layout.weights(); }}},
      {"scratch",
       {&LayoutOptions::scratch, [](Layout& layout) -> Tape& { return layout.scratch(); }}},
      {"history",
       {&LayoutOptions::history, [](Layout& layout) -> Tape& { return layout.history(); }}},
  };
  const std::pair<const char*, Layout (*)(LayoutOptions)> makers[] = {
      {"sizes", of_sizes},
      {"at creation", planned<Commit::at_creation>},
      {"with talks", planned<Commit::with_talks>},
      {"nothing", planned<Commit::nothing>}};
  for (const auto& [kind, member] : members) {
    for (const auto& [how, make] : makers) {
      all.push_back(way_of_layout(std::string(kind) + " of a layout, " + how, member.first,
                                  member.second, make));
    }
  }
  return all;
}

/// An option, and whether a tape shows its effect.
struct Option {
  const char* name;
  std::function<void(TapeOptions&)> set;
  std::function<bool(Tape&)> has_effect;
};

std::vector<Option> options(LedgerSpill& source, std::size_t& hooked) {
  return {
      {"name", [](TapeOptions& o) { o.name = "named"; },
       [](Tape& tape) { return tape.name() == "named"; }},
      {"commit_step", [](TapeOptions& o) { o.commit_step = kStep; },
       [](Tape& tape) { return tape.block().committed() < tape.block().size(); }},
      {"wipe_on_clear", [](TapeOptions& o) { o.wipe_on_clear = true; },
       [](Tape& tape) {
         auto* at = static_cast<std::byte*>(tape.take(1000));
         std::memset(at, 1, 1000);
         tape.clear();
         return tape.take(1000) == at && static_cast<bool>(all_bytes_are(at, 1000, 0));
       }},
      {"spill", [&](TapeOptions& o) { o.spill = &source; },
       [](Tape& tape) { return tape.try_take(4 * kWayBytes) != nullptr; }},
      {"block.overcommit", [](TapeOptions& o) { o.block.overcommit = true; },
       [](Tape& tape) {
         const auto* at = static_cast<const std::byte*>(tape.take(64));
         return !internal::os::ResidentLedger::covers({at, 64});
       }},
      {"block.core_dump", [](TapeOptions& o) { o.block.core_dump = false; },
       [](Tape& tape) {
         return static_cast<bool>(has_flag(static_cast<std::byte*>(tape.take(64)), 1, "dd"));
       }},
      {"block.on_fork", [](TapeOptions& o) { o.block.on_fork = OnFork::omit; },
       [](Tape& tape) {
         return static_cast<bool>(has_flag(static_cast<std::byte*>(tape.take(64)), 1, "dc"));
       }},
      {"block.huge_pages", [](TapeOptions& o) { o.block.huge_pages = HugePages::never; },
       [](Tape& tape) {
         return static_cast<bool>(has_flag(static_cast<std::byte*>(tape.take(64)), 1, "nh"));
       }},
      {"block.on_commit",
       [&](TapeOptions& o) {
         hooked = 0;
         o.block.on_commit = [&](std::span<std::byte> range) { hooked += range.size(); };
       },
       [&](Tape& tape) { return tape.take(64) != nullptr && hooked != 0; }},
  };
}

TEST(OptionsOfATape, TakeEffectOrAreRefusedInWhicheverWayItIsMade) {
  LedgerSpill source;
  std::size_t hooked = 0;
  std::size_t effects = 0;
  std::size_t refusals = 0;
  for (const Way& way : ways()) {
    for (const Option& option : options(source, hooked)) {
      TapeOptions asked;
      option.set(asked);
      try {
        way.with(asked, [&](Tape& tape) {
          EXPECT_TRUE(option.has_effect(tape)) << way.name << ": " << option.name;
          ++effects;
        });
      } catch (const InvalidArgument& error) {
        EXPECT_NE(error.argument().find("TapeOptions"), std::string::npos) << error.argument();
        ++refusals;
      }
    }
  }
  EXPECT_GT(effects, 100U);
  EXPECT_GT(refusals, 10U);
}

TEST(OptionsOfASharedTape, TakeEffectOrAreRefused) {
  for (const auto& set : std::vector<std::function<void(TapeOptions&)>>{
           [](TapeOptions& o) { o.commit_step = kStep; },
           [](TapeOptions& o) { o.block.core_dump = false; }}) {
    TapeOptions asked;
    set(asked);
    EXPECT_THROW((void)SharedTape::over(Block::reserve(kWayBytes), asked), InvalidArgument);
  }
  SharedTape tape = SharedTape::start(kWayBytes, {.block = {.core_dump = false}});
  EXPECT_TRUE(has_flag(static_cast<std::byte*>(tape.take(64)), 1, "dd"));
}

TEST(OptionsOfADeviceTape, TakeEffectOrAreRefused) {
  HostDevice device({.memory = 1_MiB});
  PagePool pool(device);
  std::size_t hooked = 0;
  const DeviceTapeOptions asked = {
      .block = {.on_commit = [&](std::span<std::byte> range) { hooked += range.size(); }}};
  EXPECT_THROW((void)DeviceTape::over(DeviceBlock::allocate(device, 4096), asked), InvalidArgument);
  EXPECT_THROW((void)DeviceTape::behind({}, DeviceBlock(), asked), InvalidArgument);
  EXPECT_EQ(hooked, 0U);
  const DeviceTape plain = DeviceTape::start(device, 4096, asked);
  EXPECT_EQ(hooked, 4096U);
  DeviceTape grown = DeviceTape::reserve(pool, 64_KiB, asked);
  grown.prepare(1);
  EXPECT_GT(hooked, 4096U);
}

}  // namespace
}  // namespace tapedeck::tests
