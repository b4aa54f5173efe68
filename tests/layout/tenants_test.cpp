// SPDX-License-Identifier: Apache-2.0
// Random tenants of tapes and layouts that wipe: whatever one of them wrote, the next finds zeros
// in every byte that it gets, in whichever way the tape or the talk was made. TAPEDECK_LIVES sets
// the number of tenants.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/lives.hpp"
#include "layout/side_kinds.hpp"
#include "layout/side_plan.hpp"
#include "memory/pattern.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/device/pinned_tape.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/spill_source.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace {

/// A pool that gives the same memory to each tenant in turn.
class TenantsPool final : public SpillSource {
 public:
  void* allocate(std::size_t bytes, std::size_t align) noexcept override {
    const std::size_t from = round_up(used_, align);
    if (from > kBytes || bytes > kBytes - from) return nullptr;
    used_ = from + bytes;
    ++blocks_;
    ++given;
    return memory_.get() + from;
  }
  void deallocate(void* /*block*/, std::size_t /*bytes*/, std::size_t /*align*/) noexcept override {
    if (--blocks_ == 0) used_ = 0;
  }

  std::uint64_t given = 0;

 private:
  static constexpr std::size_t kBytes = 1_MiB;
  struct Free {
    void operator()(std::byte* at) const { ::operator delete (at, std::align_val_t{4096}); }
  };
  static std::byte* zeroed() {
    auto* at = static_cast<std::byte*>(::operator new (kBytes, std::align_val_t{4096}));
    std::memset(at, 0, kBytes);
    return at;
  }

  std::unique_ptr<std::byte, Free> memory_{zeroed()};
  std::size_t used_ = 0;
  std::size_t blocks_ = 0;
};

class Tenants {
 public:
  explicit Tenants(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] std::size_t below(std::size_t n) { return random_() % n; }

  /// Finds zeros, and leaves something else.
  void occupy(std::span<std::byte> bytes) {
    ASSERT_TRUE(all_bytes_are(bytes.data(), bytes.size(), 0));
    std::memset(bytes.data(), static_cast<int>(1 + below(255)), bytes.size());
  }

  template <class AnyTape>
  void take_from(AnyTape& tape) {
    const std::size_t bytes = 1 + below(below(4) == 0 ? 40'000 : 900);
    if (void* at = tape.try_take(bytes, std::size_t{1} << below(13))) {
      occupy({static_cast<std::byte*>(at), bytes});
    }
  }

 private:
  std::mt19937_64 random_;
};

constexpr std::size_t kTenantBytes = 64_KiB;

template <class AnyTape>
void live_on(AnyTape& tape, const std::string& way) {
  SCOPED_TRACE(way);
  Tenants tenants(7);
  for (std::uint64_t tenant = 0; tenant < lives(200) && !::testing::Test::HasFatalFailure();
       ++tenant) {
    for (std::size_t takes = tenants.below(12); takes != 0; --takes) tenants.take_from(tape);
    if constexpr (requires { tape.mark(); }) {
      const auto mark = tape.mark();
      for (std::size_t takes = tenants.below(6); takes != 0; --takes) tenants.take_from(tape);
      if (tenants.below(2) == 0) tape.rewind(mark);
      for (std::size_t takes = tenants.below(6); takes != 0; --takes) tenants.take_from(tape);
    }
    tape.clear();
    if constexpr (requires { tape.decommit(); }) {
      if (tenants.below(8) == 0) static_cast<void>(tape.decommit());
    }
  }
}

TEST(TenantsOfATape, FindZerosInWhicheverWayItWasMade) {
  for (const std::size_t step : {std::size_t{0}, std::size_t{8192}}) {
    TenantsPool pool;
    const TapeOptions options = {.commit_step = step, .wipe_on_clear = true, .spill = &pool};
    std::vector<std::byte> borrowed(kTenantBytes + 1);
    Block whole = Block::reserve(2 * kTenantBytes);
    Block below = whole.part(0, kTenantBytes);
    below.commit(kTenantBytes);
    std::vector<std::pair<const char*, Tape>> tapes;
    tapes.reserve(5);
    tapes.emplace_back("start", Tape::start(kTenantBytes, options));
    tapes.emplace_back("borrowed", Tape::over(Block::borrow(borrowed), options));
    tapes.emplace_back("shared memory", Tape::over(Block::create_shared(kTenantBytes), options));
    tapes.emplace_back("behind", Tape::behind({whole.data(), kTenantBytes},
                                              whole.part(kTenantBytes, kTenantBytes), options));
    tapes.emplace_back("behind, without room above",
                       Tape::behind({whole.data(), kTenantBytes}, Block(), options));
    for (auto& [way, tape] : tapes) {
      const std::uint64_t spilled = pool.given;
      live_on(tape, way);
      EXPECT_GT(pool.given, spilled) << way;
    }
    Tape parent = Tape::start(3 * kTenantBytes, options);
    live_on(parent.split(3)[1], "child");
  }
  HostDevice device;
  TenantsPool pool;
  Tape warm = Tape::start_warm(kTenantBytes, {.wipe_on_clear = true, .spill = &pool});
  live_on(warm, "warm");
  Tape pinned = start_pinned(device, kTenantBytes, {.wipe_on_clear = true, .spill = &pool});
  live_on(pinned, "pinned");
  SharedTape shared = SharedTape::start(kTenantBytes, {.wipe_on_clear = true});
  live_on(shared, "many writers");
}

/// A side whose memory is too small for all talks, so that they adopt each other's pages.
template <class Kind>
class TenantsOfTalks : public ::testing::Test {
 protected:
  static constexpr std::size_t kTalks = 3;
  static constexpr std::uint64_t kTokens = 600;

  /// The streams of the talks; there are none on the host.
  template <class Layout>
  void live_in(Layout& layout, bool at_creation) {
    if constexpr (Kind::kOnDevice) {
      for (std::size_t i = 0; i < kTalks; ++i) streams_.emplace_back(layout.device());
    }
    start_with_zeros(layout, at_creation ? kTalks : 0);
    for (std::uint64_t tenant = 0; tenant < lives(120) && !this->HasFatalFailure(); ++tenant) {
      const std::size_t slot = tenants_.below(kTalks);
      auto talk = layout.talk(slot);
      begin(talk);
      live(layout, talk);
      leave(layout, talk);
    }
    this->finish(layout);
    streams_.clear();  // before the layout ends
  }

 private:
  // A device's plain memory has any contents at first.
  template <class Layout>
  static void start_with_zeros(Layout& layout, std::size_t talks) {
    if constexpr (!Kind::kOnDevice) return;
    std::memset(layout.scratch().data(), 0, layout.scratch().committed());
    for (std::size_t talk = 0; talk < talks; ++talk) {
      std::memset(layout.history(talk).data(), 0, layout.history(talk).committed());
    }
  }

  template <class Handle>
  void begin(Handle& talk) {
    if constexpr (Kind::kOnDevice) talk.set_stream(streams_[tenants_.below(kTalks)].handle());
  }

  template <class Layout, class Handle>
  void live(Layout& layout, Handle& talk) {
    const Plan& plan = layout.plan();
    std::uint64_t tokens = 1 + tenants_.below(kTokens);
    talk.prepare(tokens);
    this->finish(layout);  // the tests read the device's memory by the host
    occupy_rows(layout, talk, tokens);
    for (const Region& region : plan.history.regions()) {
      if (region.growth.bytes_per_token != 0) continue;
      const auto bytes = layout.history_at(region, talk.index());
      tenants_.occupy({bytes.data(), bytes.size()});
    }
    const auto logits = layout.scratch_at(plan.scratch.regions()[1]);
    tenants_.occupy({logits.data(), logits.size()});
    const std::uint64_t back = tenants_.below(tokens);
    talk.rewind(back);
    this->finish(layout);
    occupy_rows(layout, talk, std::min<std::uint64_t>(back, talk.room()));
    for (auto* tape : {&layout.history(talk.index()), &layout.scratch()}) tenants_.take_from(*tape);
  }

  // A row of a window may be one of this tenant's own.
  template <class Layout, class Handle>
  void occupy_rows(Layout& layout, Handle& talk, std::uint64_t tokens) {
    const std::uint64_t first = talk.advance(tokens);
    for (const Region& region : layout.plan().history.regions()) {
      const bool full = region.growth.capacity >= first + tokens;
      for (std::uint64_t row = first; full && row < first + tokens; ++row) {
        const auto bytes = talk.row(region, row);
        tenants_.occupy({bytes.data(), bytes.size()});
      }
    }
  }

  template <class Layout, class Handle>
  void leave(Layout& layout, Handle& talk) {
    layout.clear_talk(talk.index());
    if (tenants_.below(3) == 0) static_cast<void>(talk.decommit());
    if (tenants_.below(3) == 0) {
      talk.close();
      static_cast<void>(layout.open_talk());
    }
  }

  template <class Layout>
  static void finish(Layout& layout) {
    if constexpr (Kind::kOnDevice) layout.device().synchronize();
  }

  Tenants tenants_{11};
  std::vector<DeviceStream> streams_;
};

TYPED_TEST_SUITE(TenantsOfTalks, SideKinds);

TYPED_TEST(TenantsOfTalks, FindZerosInWhicheverWayTheyWereMade) {
  for (const Commit commit : {Commit::at_creation, Commit::with_talks}) {
    for (const std::size_t extra : {std::size_t{0}, std::size_t{16_KiB}}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(commit)) + ", " + std::to_string(extra));
      TypeParam side(side_plan(3),
                     {.commit = commit,
                      .growth_step = 16,
                      .history_budget = commit == Commit::at_creation ? 0 : std::size_t{3_MiB},
                      .extra = {.scratch = extra, .history = extra},
                      .wipe_on_clear = true});
      this->live_in(side.layout, commit == Commit::at_creation);
      if (this->HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
