#include "tapedeck/layout/device_layout.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "layout/growth_thread.hpp"
#include "layout/stat_sum.hpp"
#include "layout/talk_cursors.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

// Each region begins with a page of its own, to be mapped apart.
TapePlan in_whole_pages(const TapePlan& plan, std::size_t page_bytes) {
  TapePlan out(plan.kind());
  for (Region region : plan.regions()) {
    region.alignment = std::max<std::uint64_t>(region.alignment, page_bytes);
    out.append(std::move(region));
  }
  return out;
}

}  // namespace

/// One talk's history.
class DeviceLayout::Talk {
 public:
  Talk(const TapePlan& plan, DeviceTape& tape, DeviceBlock* reserved, std::uint64_t step)
      : tape_(tape), cursors_(plan, tape.data(), reserved, step, tape.name()) {}

  [[nodiscard]] internal::TalkCursors<DeviceBlock>& cursors() noexcept { return cursors_; }
  [[nodiscard]] const internal::TalkCursors<DeviceBlock>& cursors() const noexcept {
    return cursors_;
  }

  void commit_fixed() {
    cursors_.commit_fixed();
    note_committed(false);
  }
  /// Room for the talk's first `tokens`.
  void grow_to(std::uint64_t tokens) {
    if (cursors_.grow_to(tokens)) note_committed(true);
  }
  void clear() noexcept {
    cursors_.keep(0);
    asked_.store(0, std::memory_order_relaxed);
    cleared_.fetch_add(1, std::memory_order_release);
  }

  /// How often it was cleared, while its pages are for others; else 0.
  [[nodiscard]] std::uint64_t for_others() const noexcept {
    const std::uint64_t cleared = cleared_.load(std::memory_order_acquire);
    const bool claimed = cleared == claimed_.load(std::memory_order_relaxed);
    return claimed || cursors_.tokens() != 0 ? 0 : cleared;
  }
  /// Somebody goes on with it: its pages are no longer for others. @pre whoever would take them
  /// waits
  void claim() noexcept {
    claimed_.store(cleared_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }

  /// @pre the device has finished with what goes.
  std::size_t decommit() {
    const std::size_t bytes = cursors_.decommit();
    asked_.store(0, std::memory_order_relaxed);
    if (bytes != 0) note_committed(false);
    return bytes;
  }
  [[nodiscard]] bool has_room(std::uint64_t tokens) const noexcept {
    return tokens <= cursors_.prepared() - cursors_.tokens();
  }
  /// Bytes of pages that room for the first `tokens` takes.
  [[nodiscard]] std::size_t missing(std::uint64_t tokens) const noexcept {
    std::size_t bytes = 0;
    for (const internal::TalkCursor<DeviceBlock>& cursor : cursors_.cursors()) {
      if (!cursor.grows() || cursor.part.size() == 0) continue;
      const std::size_t whole =
          round_up(cursor.filled(cursors_.in_steps(tokens)), cursor.part.page_bytes());
      bytes += whole - std::min(whole, cursor.part.committed());
    }
    return bytes;
  }

  /// The tokens to ask for so that `ahead` of them have room; 0 where they have, or where that was
  /// asked for already.
  [[nodiscard]] std::uint64_t to_ask(std::uint64_t ahead) noexcept {
    const auto sum = checked_add(cursors_.tokens(), ahead);
    const std::uint64_t wanted =
        cursors_.in_steps(std::min(sum.value_or(cursors_.capacity()), cursors_.capacity()));
    if (wanted <= cursors_.prepared() || wanted <= asked_.load(std::memory_order_relaxed)) return 0;
    asked_.store(wanted, std::memory_order_relaxed);
    return wanted;
  }

 private:
  void note_committed(bool grew) noexcept {
    if (tape_.total() != 0) tape_.note_planned(cursors_.committed(), grew);
  }

  DeviceTape& tape_;
  internal::TalkCursors<DeviceBlock> cursors_;
  std::atomic<std::uint64_t> asked_{0};  // of the layout's thread
  std::atomic<std::uint64_t> cleared_{0};
  std::atomic<std::uint64_t> claimed_{0};  // the value of `cleared_` when somebody went on
};

DeviceLayout::DeviceLayout(Device& device, Plan plan, DeviceLayoutOptions options)
    : device_(device),
      plan_(std::move(plan)),
      options_(std::move(options)),
      pool_(device, options_.page_bytes) {
  if (plan_.profile != native_profile().name) {
    throw InvalidArgument("a layout of a plan for another engine", "plan with the native profile");
  }
  if (plan_.talks == 0 || options_.frames == 0) {
    throw InvalidArgument(device.label() + ": a layout with no talk, or no frame",
                          "ask for at least 1 of each");
  }
  if (options_.commit != Commit::at_creation) {
    plan_.history = in_whole_pages(plan_.history, pool_.page_bytes());
  }
  reserved_.reserve(1 + options_.frames + plan_.talks);  // parts refer to them
  weights_ = make_tape(plan_.weights, options_.extra.weights, "weights");
  std::vector<DeviceTape> frames;
  for (std::size_t i = 0; i < options_.frames; ++i) {
    frames.push_back(make_tape(plan_.scratch, options_.extra.scratch, "scratch"));
  }
  scratch_ = FrameRing<DeviceTape>(device, std::move(frames));
  make_histories();
  if (options_.ahead == 0) return;
  thread_ = std::make_unique<internal::GrowthThread>(
      talks_.size(), [this](std::size_t talk, std::uint64_t tokens) { grow_ahead(talk, tokens); });
}

DeviceLayout::~DeviceLayout() = default;

void DeviceLayout::make_histories() {
  histories_.reserve(plan_.talks);
  const bool grows = options_.commit != Commit::at_creation;
  for (std::size_t talk = 0; talk < plan_.talks; ++talk) {
    const std::size_t reservations = reserved_.size();
    const TapePlan& plan = plan_.history;
    DeviceTape& tape =
        histories_.emplace_back(grows ? reserve_tape(plan, options_.extra.history, "history")
                                      : make_tape(plan, options_.extra.history, "history"));
    DeviceBlock* const reserved = reserved_.size() != reservations ? &reserved_.back() : nullptr;
    talks_.push_back(std::make_unique<Talk>(plan, tape, reserved, options_.growth_step));
    if (options_.commit == Commit::with_talks) talks_.back()->commit_fixed();
  }
}

DeviceTape DeviceLayout::make_tape(const TapePlan& plan, std::size_t extra, const char* name) {
  if (options_.commit == Commit::nothing) return reserve_tape(plan, extra, name);
  const auto total = checked_add<std::size_t>(plan.bytes(), extra);
  if (!total) throw InvalidArgument(std::string("tape ") + name + ": more than can be addressed");
  if (*total == 0) return {};
  // What the driver allocates is aligned to 256; its pages are to far more.
  const bool plain = plan.alignment() <= kDeviceLine;
  require_alignment(plan, name);
  DeviceTape tape =
      plain ? DeviceTape::start(device_, *total, {.name = name, .block = options_.block})
            : DeviceTape::reserve(pool_, *total, {.name = name, .block = options_.block});
  tape.grow_to(*total);
  static_cast<void>(tape.take(plan.bytes()));
  tape.raise_floor();
  return tape;
}

DeviceTape DeviceLayout::reserve_tape(const TapePlan& plan, std::size_t extra, const char* name) {
  const std::size_t page = pool_.page_bytes();
  // What is taken above begins with a page of its own.
  const auto planned = checked_round_up(plan.bytes(), page);
  const auto above = checked_round_up(extra, page);
  const auto total = planned && above ? checked_add(*planned, *above) : std::nullopt;
  if (!total) throw InvalidArgument(std::string("tape ") + name + ": more than can be addressed");
  if (*total == 0) return {};
  require_alignment(plan, name);
  DeviceBlock& reserved =
      reserved_.emplace_back(DeviceBlock::reserve(pool_, *total, options_.block));
  DeviceBlock rest = extra == 0 ? DeviceBlock() : reserved.part(*planned, *above);
  const std::size_t below = extra == 0 ? plan.bytes() : *planned;
  return DeviceTape::behind({reserved.data(), below}, std::move(rest), {.name = name});
}

void DeviceLayout::require_alignment(const TapePlan& plan, const char* name) const {
  const std::size_t most = device_.info().granularity;
  if (plan.alignment() <= most) return;
  throw InvalidArgument(std::string("tape ") + name + ": a region aligned to " +
                        to_iec(plan.alignment()) + " where pages have " + to_iec(most));
}

void DeviceLayout::prepare(std::size_t talk, std::uint64_t tokens) {
  assert(talk < talks_.size());
  Talk& one = *talks_[talk];
  if (one.for_others() != 0 || !one.has_room(tokens)) {
    std::unique_lock growing(growing_);
    one.claim();
    if (!one.has_room(tokens)) grow(growing, talk, one.cursors().after(tokens));
  }
  if (thread_ != nullptr) ask_ahead(talk);
}

// Room for the talk's first `tokens`. Others may grow while this waits for the device.
void DeviceLayout::grow(std::unique_lock<std::mutex>& growing, std::size_t talk,
                        std::uint64_t tokens) {
  Talk& one = *talks_[talk];
  do {
    refuse_if_sealed("a talk would have to grow");
  } while (pool_.free_bytes() < one.missing(tokens) && reclaim_from_cleared(growing, talk));
  one.grow_to(tokens);
}

void DeviceLayout::ask_ahead(std::size_t talk) noexcept {
  const std::uint64_t tokens = talks_[talk]->to_ask(options_.ahead);
  if (tokens != 0) thread_->ask(talk, tokens);
}

// On the layout's thread.
void DeviceLayout::grow_ahead(std::size_t talk, std::uint64_t tokens) noexcept {
  std::unique_lock growing(growing_);
  // A talk that was cleared since gives pages, and takes none.
  if (talks_[talk]->for_others() != 0) return;
  try {
    grow(growing, talk, tokens);
  } catch (...) {
    // Nothing changed, and the `prepare` that needs the room will ask for itself.
  }
}

// Unmapping is not ordered by streams, and nobody has told what still reads there. The lock is let
// go while the device ends what it does; what was cleared is taken only if it stayed so.
bool DeviceLayout::reclaim_from_cleared(std::unique_lock<std::mutex>& growing, std::size_t but) {
  for (std::size_t talk = 0; talk < talks_.size(); ++talk) {
    Talk& one = *talks_[talk];
    const std::uint64_t cleared = one.for_others();
    if (talk == but || cleared == 0 || one.cursors().prepared() == 0) continue;
    growing.unlock();
    device_.synchronize();
    growing.lock();
    if (one.for_others() == cleared && one.decommit() != 0) return true;
  }
  return false;
}

std::uint64_t DeviceLayout::advance(std::size_t talk, std::uint64_t tokens) {
  assert(talk < talks_.size());
  return talks_[talk]->cursors().advance(tokens);
}

void DeviceLayout::rewind(std::size_t talk, std::uint64_t tokens) noexcept {
  assert(talk < talks_.size());
  internal::TalkCursors<DeviceBlock>& cursors = talks_[talk]->cursors();
  cursors.keep(cursors.tokens() - std::min(tokens, cursors.tokens()));
}

std::uint64_t DeviceLayout::tokens(std::size_t talk) const noexcept {
  assert(talk < talks_.size());
  return talks_[talk]->cursors().tokens();
}

void DeviceLayout::clear_talk(std::size_t talk) noexcept {
  assert(talk < talks_.size());
  talks_[talk]->clear();
  histories_[talk].clear();
  scratch().clear();
}

void DeviceLayout::seal() noexcept {
  const std::lock_guard growing(growing_);
  sealed_ = true;
  weights_.seal();
  for (std::size_t i = 0; i < scratch_.size(); ++i) scratch_.frame(i).seal();
  for (DeviceTape& history : histories_) history.seal();
}

void DeviceLayout::refuse_if_sealed(const char* what) const {
  if (!sealed_) return;
  throw InvalidArgument(device_.label() + ": the layout is sealed, and " + what,
                        "prepare all that is needed before seal()");
}

std::size_t DeviceLayout::trim(EventHandle after) {
  const std::lock_guard growing(growing_);
  refuse_if_sealed("would have to give pages back");
  if (after != nullptr) device_.synchronize_event(after);
  for (const auto& talk : talks_) talk->decommit();
  return pool_.trim();
}

std::size_t DeviceLayout::total() const noexcept {
  std::size_t bytes = weights_.total();
  for (std::size_t i = 0; i < scratch_.size(); ++i) bytes += scratch_.frame(i).total();
  for (const DeviceTape& history : histories_) bytes += history.total();
  return bytes;
}

DeviceStat DeviceLayout::stat() const noexcept {
  DeviceStat stat = {
      .weights = weights_.stat(), .pool_held = pool_.held_bytes(), .pool_free = pool_.free_bytes()};
  for (std::size_t i = 0; i < scratch_.size(); ++i)
    internal::add(stat.scratch, scratch_.frame(i).stat());
  for (std::size_t talk = 0; talk < histories_.size(); ++talk) {
    const TapeStat history = histories_[talk].stat();
    internal::add(stat.history, history);
    stat.largest_talk = std::max(stat.largest_talk, history.peak);
    stat.tokens += tokens(talk);
    stat.longest_talk = std::max(stat.longest_talk, talks_[talk]->cursors().most());
  }
  return stat;
}

TAPEDECK_ABI_END
}  // namespace tapedeck
