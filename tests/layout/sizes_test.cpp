// SPDX-License-Identifier: Apache-2.0
// Sizes, offsets and counts near 2^64, for every public function of blocks, tapes, devices and
// layouts that takes one: each call ends at once, with an error that has a type. A call that would
// instead loop over that many pages, threads or tapes never ends here.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "layout/cache_region.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/device/pinned_tape.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/memory/tape_resource.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::array<std::size_t, 5> kHugeSizes = {~std::size_t{0}, ~std::size_t{0} - 1,
                                                   (std::size_t{1} << 63) + 1, std::size_t{1} << 63,
                                                   std::size_t{1} << 48};

constexpr std::size_t kBytes = 64_KiB;

/// A device on which everything of a case takes place.
struct Card {
  HostDevice device{{.memory = 1_MiB, .granularity = kDevicePage}};
  PagePool pool{device};
};

/// Makes a call of a size on a card of its own.
auto on_card(void (*call)(Card&, std::size_t)) {
  return [=](std::size_t n) {
    Card card;
    call(card, n);
  };
}

Plan plan_of_talk() { return keys_and_values(1, 256, 1024); }

struct SizeCase {
  const char* name;
  std::function<void(std::size_t)> call;
  /// Whether such a size is in order, because it is a step, a budget or a bound and not a request.
  bool allowed = false;
};

Block committed_block() {
  Block block = Block::reserve(kBytes);
  block.commit(kBytes);
  return block;
}

/// The kinds of error that a size may end with.
std::optional<ErrorKind> kind_of_error(const SizeCase& one, std::size_t size) {
  try {
    one.call(size);
  } catch (const Error& error) {
    return error.kind();
  }
  return std::nullopt;
}

void expect_errors(const std::vector<SizeCase>& cases) {
  for (const SizeCase& one : cases) {
    for (const std::size_t size : kHugeSizes) {
      SCOPED_TRACE(std::string(one.name) + " " + std::to_string(size));
      try {
        const std::optional<ErrorKind> kind = kind_of_error(one, size);
        EXPECT_EQ(kind.has_value(), !one.allowed);
        if (kind) {
          EXPECT_TRUE(*kind == ErrorKind::invalid_argument || *kind == ErrorKind::out_of_memory ||
                      *kind == ErrorKind::system || *kind == ErrorKind::device)
              << to_string(*kind);
        }
      } catch (const std::exception& error) {
        ADD_FAILURE() << "without a type: " << error.what();
      }
    }
  }
}

TEST(SizesNearTheEndOfTheNumbers, EndACallOfABlock) {
  expect_errors({
      {"reserve", [](std::size_t n) { (void)Block::reserve(n); }},
      {"create_shared", [](std::size_t n) { (void)Block::create_shared(n); }},
      {"reserve huge, guarded",
       [](std::size_t n) {
         (void)Block::reserve(n, {.huge_pages = HugePages::explicit_pages, .guard_pages = true});
       }},
      {"commit", [](std::size_t n) { Block::reserve(kBytes).commit(n); }},
      {"commit, locked", [](std::size_t n) { Block::reserve(kBytes, {.lock = true}).commit(n); }},
      {"commit of nothing", [](std::size_t n) { Block::borrow({}).commit(n); }},
      {"decommit", [](std::size_t n) { committed_block().decommit(n); }, true},
      {"part offset", [](std::size_t n) { (void)Block::reserve(kBytes).part(n, 1); }},
      {"part bytes", [](std::size_t n) { (void)Block::reserve(kBytes).part(kPage, n); }},
      {"warm offset", [](std::size_t n) { (void)committed_block().warm(n, 1); }},
      {"warm bytes", [](std::size_t n) { (void)committed_block().warm(kPage, n); }},
      {"warm chunk", [](std::size_t n) { (void)committed_block().warm(0, kBytes, {.chunk = n}); },
       true},
      {"residency offset", [](std::size_t n) { (void)committed_block().residency(n, 1); }},
      {"residency bytes", [](std::size_t n) { (void)committed_block().residency(kPage, n); }},
  });
}

TEST(SizesNearTheEndOfTheNumbers, EndACallOfATape) {
  expect_errors({
      {"start", [](std::size_t n) { (void)Tape::start(n); }},
      {"start_warm", [](std::size_t n) { (void)Tape::start_warm(n); }},
      {"start in steps", [](std::size_t n) { (void)Tape::start(n, {.commit_step = kPage}); }},
      {"commit_step",
       [](std::size_t n) { (void)Tape::start(kBytes, {.commit_step = n}).take(kBytes); }, true},
      {"take", [](std::size_t n) { (void)Tape::start(kBytes).take(n); }},
      {"take packed", [](std::size_t n) { (void)Tape::start(kBytes).take(n, 1); }},
      {"take aligned", [](std::size_t n) { (void)Tape::start(kBytes).take(n, 4096); }},
      {"take elements", [](std::size_t n) { (void)Tape::start(kBytes).take<double>(n); }},
      {"prepare", [](std::size_t n) { Tape::start(kBytes, {.commit_step = kPage}).prepare(n); }},
      {"split", [](std::size_t n) { (void)Tape::start(kBytes).split(n); }},
      {"pmr",
       [](std::size_t n) {
         Tape tape = Tape::start(kBytes);
         TapeResource resource(tape);
         (void)resource.allocate(n, 8);
       }},
      {"shared start", [](std::size_t n) { (void)SharedTape::start(n); }},
      {"shared take", [](std::size_t n) { (void)SharedTape::start(kBytes).take(n); }},
      {"shared take aligned", [](std::size_t n) { (void)SharedTape::start(kBytes).take(n, 128); }},
  });
}

TEST(SizesNearTheEndOfTheNumbers, EndACallOfADevice) {
  expect_errors({
      {"reserve", [](std::size_t n) { (void)Card().device.reserve(round_down(n, kDevicePage)); }},
      {"create_pages",
       [](std::size_t n) { (void)Card().device.create_pages(round_down(n, kDevicePage)); }},
      {"allocate", [](std::size_t n) { (void)Card().device.allocate(n); }},
      {"allocate of all", [](std::size_t n) { (void)HostDevice({.memory = n}).allocate(n); }},
      {"allocate_pinned", [](std::size_t n) { (void)Card().device.allocate_pinned(n); }},
      {"start_pinned",
       on_card([](Card& card, std::size_t n) { (void)start_pinned(card.device, n); })},
      {"block reserve",
       on_card([](Card& card, std::size_t n) { (void)DeviceBlock::reserve(card.pool, n); })},
      {"block allocate",
       on_card([](Card& card, std::size_t n) { (void)DeviceBlock::allocate(card.device, n); })},
      {"block commit", on_card([](Card& card, std::size_t n) {
         DeviceBlock::reserve(card.pool, kBytes).commit(n);
       })},
      // Pages are mapped one by one.
      {"block commit of a part of many pages", on_card([](Card& card, std::size_t n) {
         DeviceBlock::reserve(card.pool, (std::size_t{1} << 40))
             .commit((std::size_t{1} << 40) - n % kPage);
       })},
      {"block part offset", on_card([](Card& card, std::size_t n) {
         (void)DeviceBlock::reserve(card.pool, kBytes).part(n, kBytes);
       })},
      {"block part bytes", on_card([](Card& card, std::size_t n) {
         (void)DeviceBlock::reserve(card.pool, kBytes).part(0, n);
       })},
      {"block decommit", on_card([](Card& card, std::size_t n) {
         DeviceBlock::reserve(card.pool, kBytes).decommit(n);
       }),
       true},
      {"tape start",
       on_card([](Card& card, std::size_t n) { (void)DeviceTape::start(card.device, n); })},
      {"tape reserve",
       on_card([](Card& card, std::size_t n) { (void)DeviceTape::reserve(card.pool, n); })},
      {"tape prepare", on_card([](Card& card, std::size_t n) {
         DeviceTape::reserve(card.pool, kBytes).prepare(n);
       })},
      {"tape prepare of many pages", on_card([](Card& card, std::size_t n) {
         DeviceTape::reserve(card.pool, (std::size_t{1} << 40))
             .prepare((std::size_t{1} << 40) - n % kPage);
       })},
      {"tape take", on_card([](Card& card, std::size_t n) {
         (void)DeviceTape::reserve(card.pool, kBytes).take(n);
       })},
  });
}

TEST(SizesNearTheEndOfTheNumbers, EndTheCreationOfALayout) {
  const LayoutSizes small = {.weights = kPage, .scratch = kPage, .history = kPage};
  const auto from_sizes = [=](std::size_t LayoutSizes::*member, std::size_t n) {
    LayoutSizes sizes = small;
    sizes.*member = n;
    Layout layout(sizes);
  };
  const auto with_extra = [](std::size_t LayoutSizes::*member, Commit commit, std::size_t n) {
    LayoutSizes extra;
    extra.*member = n;
    Layout layout(plan_of_talk(), {.commit = commit, .extra = extra});
  };
  expect_errors({
      {"weights", [=](std::size_t n) { from_sizes(&LayoutSizes::weights, n); }},
      {"scratch", [=](std::size_t n) { from_sizes(&LayoutSizes::scratch, n); }},
      {"history", [=](std::size_t n) { from_sizes(&LayoutSizes::history, n); }},
      {"talks", [=](std::size_t n) { Layout layout(small, {.talks = n}); }},
      {"talks of a plan",
       [](std::size_t n) {
         Plan plan = plan_of_talk();
         plan.talks = n;
         Layout layout(plan, {.commit = Commit::with_talks});
       }},
      {"extra at creation",
       [=](std::size_t n) { with_extra(&LayoutSizes::scratch, Commit::at_creation, n); }},
      {"extra with talks",
       [=](std::size_t n) { with_extra(&LayoutSizes::history, Commit::with_talks, n); }},
      {"extra of nothing",
       [=](std::size_t n) { with_extra(&LayoutSizes::weights, Commit::nothing, n); }},
      {"frames", on_card([](Card& card, std::size_t n) {
         DeviceLayout gpu(card.device, plan_of_talk(), {.frames = n});
       })},
      {"extra on a device", on_card([](Card& card, std::size_t n) {
         DeviceLayout gpu(card.device, plan_of_talk(), {.extra = {.scratch = n}});
       })},
      {"page_bytes", on_card([](Card& card, std::size_t n) {
         DeviceLayout gpu(card.device, plan_of_talk(), {.page_bytes = n});
       })},
      {"a region of a device", on_card([](Card& card, std::size_t n) {
         Plan plan;
         plan.history.append({.name = "state", .role = RegionRole::recurrent, .bytes = n});
         DeviceLayout gpu(card.device, plan, {.commit = Commit::with_talks});
       })},
  });
}

TEST(SizesNearTheEndOfTheNumbers, EndACallOfATalk) {
  const auto on_both = [](const LayoutOptions& options, const DeviceLayoutOptions& on_device,
                          const auto& use) {
    Layout layout(plan_of_talk(), options);
    use(layout);
    Card card;
    DeviceLayout gpu(card.device, plan_of_talk(), on_device);
    use(gpu);
  };
  const auto in_talk = [=](const auto& use) {
    on_both({.commit = Commit::with_talks}, {.commit = Commit::with_talks}, use);
  };
  expect_errors({
      {"prepare",
       [=](std::size_t n) { in_talk([n](auto& layout) { layout.talk(0).prepare(n); }); }},
      {"advance",
       [=](std::size_t n) { in_talk([n](auto& layout) { (void)layout.talk(0).advance(n); }); }},
      {"row",
       [=](std::size_t n) {
         in_talk([n](auto& layout) {
           (void)layout.talk(0).row(layout.plan().history.regions()[0], n);
         });
       }},
      {"talk", [=](std::size_t n) { in_talk([n](auto& layout) { (void)layout.talk(n); }); }},
      {"rewind", [=](std::size_t n) { in_talk([n](auto& layout) { layout.talk(0).rewind(n); }); },
       true},
      {"growth_step and budget",
       [=](std::size_t n) {
         on_both({.commit = Commit::with_talks, .growth_step = n, .history_budget = n},
                 {.commit = Commit::with_talks, .growth_step = n, .history_budget = n},
                 [](auto& layout) { layout.talk(0).prepare(1); });
       },
       true},
  });
}

// One thread for each page would be 4,096 threads here.
TEST(CountsOfThreads, AreCapped) {
  Block block = Block::reserve(16_MiB, {.huge_pages = HugePages::never});
  block.commit(16_MiB);
  std::size_t most = 0;
  const WarmOptions options = {
      .threads = ~0U, .chunk = kPage, .progress = [&](const WarmProgress&) {
        most = std::max(most, number_of("/proc/self/status", "Threads:"));
      }};
  EXPECT_TRUE(block.warm(0, 16_MiB, options));
  EXPECT_LE(most, kMostWarmThreads + 1);
}

}  // namespace
}  // namespace tapedeck::tests
