#include "tapedeck/memory/tape.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "memory/tape_parts.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace checking = internal::checking;
namespace {

// How far a tape grows at a time that was told no step: one huge page.
constexpr std::size_t kDefaultStep = 2_MiB;

// One writer: a plain addition that readers may watch.
template <class Number>
Number add(std::atomic<Number>& counter, Number n) noexcept {
  const Number sum = counter.load(std::memory_order_relaxed) + n;
  counter.store(sum, std::memory_order_relaxed);
  return sum;
}

}  // namespace

// Lies in the line (or more) in front of the bytes that were asked for.
struct Tape::Spilled {
  Spilled* older;
  void* block;
  std::size_t block_bytes;
  std::size_t align;
  std::size_t bytes;

  [[nodiscard]] std::uintptr_t payload() const noexcept { return internal::address_of(end()); }

 private:
  [[nodiscard]] const std::byte* end() const noexcept {
    return reinterpret_cast<const std::byte*>(this + 1);
  }
};

struct Tape::Cold {
  Cold(Block below, TapeOptions asked) : block(std::move(below)), options(std::move(asked)) {}

  Block block;
  TapeOptions options;
  std::vector<Tape> children;
  std::size_t planned = 0;  // bytes in front of the block, that somebody else commits
  std::atomic<std::size_t> uncommitted{0};  // of those
  std::atomic<std::uint64_t> spilled{0};
  std::atomic<std::uint64_t> spilled_peak{0};
  std::atomic<std::uint64_t> spills{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> grows{0};
  std::atomic<std::uint64_t> page_size{0};
  std::array<std::atomic<std::int32_t>, kWishes> unmet{};
};

// What a take touches lies in the first cache line.
struct TapeInternals {
  static_assert(offsetof(Tape, head_) == 0 && offsetof(Tape, on_give_back_) < kLine);
  static_assert(offsetof(Tape, limit_) < kLine && offsetof(Tape, crumb_) < kLine);
  static_assert(offsetof(Tape, floor_) < kLine && offsetof(Tape, base_) < kLine);
  static_assert(offsetof(Tape, peak_) < kLine && offsetof(Tape, clears_) < kLine);
};

Tape::Tape() noexcept = default;

Tape::Tape(Tape&& other) noexcept { swap(other); }

Tape& Tape::operator=(Tape&& other) noexcept {
  if (this != &other) {
    Tape old;
    swap(old);  // old ends with what this tape had
    swap(other);
  }
  return *this;
}

Tape::~Tape() { release(); }

Tape Tape::start(std::size_t bytes, TapeOptions options) {
  Block block = Block::reserve(bytes, options.block);
  return over(std::move(block), std::move(options));
}

Tape Tape::start_warm(std::size_t bytes, TapeOptions options, const WarmOptions& warm) {
  if (options.commit_step != 0) {
    throw InvalidArgument("tape " + options.name + ": a warm tape has no commit step",
                          "a warm tape commits everything");
  }
  Tape tape = start(bytes, std::move(options));
  const WarmResult result = tape.warm(warm);
  switch (result.end) {
    case WarmEnd::complete:
      return tape;
    case WarmEnd::over_budget:
      throw OutOfMemory({.purpose = "warming tape " + tape.name(),
                         .limit = result.limit,
                         .needed = result.asked,
                         .available = result.available},
                        "plan a smaller tape, or free memory");
    case WarmEnd::stopped:
      throw SystemError({.call = "warming tape " + tape.name(), .number = ECANCELED});
    case WarmEnd::failed:
      break;
  }
  throw SystemError({.call = "madvise", .number = result.error, .bytes = result.asked});
}

Tape Tape::over(Block block, TapeOptions options) {
  const std::uintptr_t first = internal::address_of(block.data());
  const bool writable = block.writable();
  Tape tape;
  tape.base_ = round_up(first, kLine);
  // A mapped file may end inside a line; its last page goes on to the end of it.
  tape.end_ =
      writable ? round_down(first + block.size(), kLine) : round_up(first + block.size(), kLine);
  if (block.size() == 0 || tape.end_ <= tape.base_) {
    throw InvalidArgument("tape " + options.name + ": a block of " + to_iec(block.size()) +
                          " has no whole 64-byte line");
  }
  const std::size_t step = options.commit_step == 0 ? block.size() : options.commit_step;
  block.commit(std::min(step, block.size()));
  if (writable) {
    tape.on_give_back_ =
        (options.wipe_on_clear ? kWipe : 0U) | (internal::kFillOnGiveBack ? kFill : 0U);
  }
  tape.cold_ = std::make_unique<Cold>(std::move(block), std::move(options));
  tape.note_commit();
  const std::uintptr_t start = writable ? tape.base_ : tape.end_;
  if (!writable) tape.limit_ = tape.end_;
  tape.floor_ = start;
  tape.peak_ = start;
  tape.former_peak_ = start;
  tape.head_ = start;
  return tape;
}

Tape Tape::behind(std::span<std::byte> planned, Block above, TapeOptions options) {
  std::byte* const end = planned.data() + planned.size();
  if (above.size() != 0 && above.data() != end) {
    throw InvalidArgument("tape " + options.name +
                          ": the block does not lie behind what is planned");
  }
  const bool has_room = above.size() != 0;
  Tape tape = has_room ? over(std::move(above), options) : Tape();
  if (!has_room) {
    tape.cold_ = std::make_unique<Cold>(Block(), std::move(options));
    const std::uintptr_t full = round_up(internal::address_of(end), kLine);
    tape.end_ = full;
    for (auto* place : {&tape.head_, &tape.limit_, &tape.floor_, &tape.peak_, &tape.former_peak_}) {
      *place = full;
    }
  }
  tape.base_ = internal::address_of(planned.data());
  tape.cold_->planned = planned.size();
  tape.cold_->uncommitted = planned.size();
  return tape;
}

void Tape::note_planned(std::size_t committed, bool grew) noexcept {
  assert(committed <= cold_->planned);
  cold_->uncommitted.store(cold_->planned - committed, std::memory_order_relaxed);
  if (grew) add(cold_->grows, std::uint64_t{1});
}

void Tape::swap(Tape& other) noexcept {
  internal::swap_relaxed(head_, other.head_);
  internal::swap_relaxed(limit_, other.limit_);
  std::swap(crumb_, other.crumb_);
  internal::swap_relaxed(floor_, other.floor_);
  std::swap(base_, other.base_);
  internal::swap_relaxed(peak_, other.peak_);
  internal::swap_relaxed(former_peak_, other.former_peak_);
  internal::swap_relaxed(clears_, other.clears_);
  std::swap(on_give_back_, other.on_give_back_);
  std::swap(end_, other.end_);
  std::swap(spilled_, other.spilled_);
  std::swap(cold_, other.cold_);
}

void Tape::release() noexcept {
  if (cold_ == nullptr) return;
  free_spilled(nullptr);
  cold_->children.clear();
  // The addresses may serve somebody else next, and borrowed memory goes back to its owner.
  const std::uintptr_t first = base_ + cold_->planned;
  const std::uintptr_t most = base_ + peak();
  if ((on_give_back_ & kWipe) != 0) internal::overwrite(first, std::min(most, limit_.load()), 0);
  checking::unpoison(first, most - first);
}

// The rare takes: beyond the committed end, at a wide alignment, or on a full tape.
void* Tape::take_slow(std::size_t bytes, std::size_t align) noexcept {
  if (bytes == 0) return reinterpret_cast<void*>(align);
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  const std::optional<std::uintptr_t> start = checked_round_up(head, std::max(align, kLine));
  if (!start || *start > end_ || bytes > end_ - *start) return spill(bytes, align);
  const std::uintptr_t end = round_up(*start + bytes, kLine);
  if (end > limit_.load(std::memory_order_relaxed) && !grow(end)) return spill(bytes, align);
  if (align < kLine) crumb_ = *start + bytes;
  head_.store(end, std::memory_order_relaxed);
  checking::unpoison(*start, bytes);
  return reinterpret_cast<void*>(*start);
}

bool Tape::grow(std::uintptr_t end) noexcept {
  const std::uintptr_t limit = limit_.load(std::memory_order_relaxed);
  const std::size_t asked_step = cold_->options.commit_step;
  const std::size_t step = asked_step == 0 ? kDefaultStep : asked_step;
  const std::uintptr_t next = limit + std::min<std::size_t>(step, end_ - limit);
  const std::uintptr_t first = internal::address_of(cold_->block.data());
  // A whole step may be refused where the take alone is not.
  if (!cold_->block.try_commit(std::max(end, next) - first) &&
      !cold_->block.try_commit(end - first)) {
    return false;
  }
  add(cold_->grows, std::uint64_t{1});
  note_commit();
  return true;
}

// Copies what the block now is to where readers may look.
void Tape::note_commit() noexcept {
  const Block& block = cold_->block;
  const std::uintptr_t committed = internal::address_of(block.data()) + block.committed();
  limit_.store(std::clamp(round_down(committed, kLine), base_, end_), std::memory_order_relaxed);
  cold_->page_size.store(block.page_size(), std::memory_order_relaxed);
  for (const Unmet& one : block.unmet()) {
    cold_->unmet[static_cast<std::size_t>(one.wish)].store(one.error, std::memory_order_relaxed);
  }
}

void* Tape::spill(std::size_t bytes, std::size_t align) noexcept {
  if (cold_ == nullptr) return nullptr;
  SpillSource* source = cold_->options.spill;
  const std::size_t block_align = std::max(align, kLine);
  static_assert(sizeof(Spilled) <= kLine);
  const std::optional<std::size_t> block_bytes = checked_add(bytes, block_align);
  void* block =
      source != nullptr && block_bytes ? source->allocate(*block_bytes, block_align) : nullptr;
  if (block == nullptr) {
    add(cold_->refused, std::uint64_t{1});
    return nullptr;
  }
  std::byte* payload = static_cast<std::byte*>(block) + block_align;
  spilled_ = std::construct_at(reinterpret_cast<Spilled*>(payload) - 1,
                               Spilled{.older = spilled_,
                                       .block = block,
                                       .block_bytes = *block_bytes,
                                       .align = block_align,
                                       .bytes = bytes});
  on_give_back_ |= kSpilled;
  add(cold_->spills, std::uint64_t{1});
  const std::uint64_t now = add(cold_->spilled, std::uint64_t{bytes});
  if (now > cold_->spilled_peak.load(std::memory_order_relaxed)) {
    cold_->spilled_peak.store(now, std::memory_order_relaxed);
  }
  return payload;
}

// Newest first, until the one that was there at the mark.
void Tape::free_spilled(const Spilled* keep) noexcept {
  while (spilled_ != nullptr && spilled_ != keep) {
    const Spilled gone = *spilled_;
    if ((on_give_back_ & kWipe) != 0) {
      internal::overwrite(spilled_->payload(), spilled_->payload() + gone.bytes, 0);
    }
    cold_->options.spill->deallocate(gone.block, gone.block_bytes, gone.align);
    spilled_ = gone.older;
    add(cold_->spilled, std::uint64_t{0} - gone.bytes);
  }
  if (spilled_ == nullptr) on_give_back_ &= ~std::uint32_t{kSpilled};
}

bool Tape::owns_spilled(std::uintptr_t at) const noexcept {
  for (const Spilled* one = spilled_; one != nullptr; one = one->older) {
    if (at - one->payload() < one->bytes) return true;
  }
  return false;
}

void Tape::clear_extras(std::uintptr_t floor, std::uintptr_t head) noexcept {
  overwrite_given_back(floor, head);
  free_spilled(nullptr);
  for (Tape& child : cold_->children) child.clear();
}

void Tape::rewind_extras(std::uintptr_t to, std::uintptr_t crumb, const Spilled* keep,
                         std::uintptr_t head) noexcept {
  overwrite_given_back(to, head);
  overwrite_given_back(crumb, round_up(crumb, kLine));
  free_spilled(keep);
}

void Tape::overwrite_given_back(std::uintptr_t from, std::uintptr_t to) noexcept {
  if ((on_give_back_ & (kWipe | kFill)) == 0) return;
  internal::overwrite(from, to, (on_give_back_ & kWipe) != 0 ? 0 : internal::kGivenBack);
}

void Tape::raise_floor() noexcept {
  crumb_ = 0;  // later packed takes must not share a line with what stays
  floor_.store(head_.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void Tape::prepare(std::size_t bytes) {
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  if (bytes > end_ - head) throw_full(bytes);
  const std::uintptr_t end = round_up(head + bytes, kLine);
  if (end <= limit_.load(std::memory_order_relaxed)) return;
  cold_->block.commit(end - internal::address_of(cold_->block.data()));
  note_commit();
}

bool Tape::try_prepare(std::size_t bytes) noexcept {
  try {
    prepare(bytes);
    return true;
  } catch (...) {
    return false;
  }
}

std::size_t Tape::committed() const noexcept {
  const std::size_t reach = limit_.load(std::memory_order_relaxed) - base_;
  return cold_ == nullptr ? reach : reach - cold_->uncommitted.load(std::memory_order_relaxed);
}

std::size_t Tape::decommit() noexcept {
  if (cold_ == nullptr) return 0;
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  const std::size_t given_back =
      cold_->block.decommit(head - internal::address_of(cold_->block.data()));
  if (cold_->block.writable()) note_commit();
  return given_back;
}

WarmResult Tape::warm(const WarmOptions& options) {
  if (cold_ == nullptr) return {.present = 0};
  return cold_->block.warm(0, cold_->block.committed(), options);
}

Residency Tape::residency() const {
  if (cold_ == nullptr) return {.present = 0, .huge = 0};
  return cold_->block.residency(0, cold_->block.committed());
}

std::span<Tape> Tape::split(std::size_t n) {
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  if (n == 0 || !children().empty() || head != floor_.load(std::memory_order_relaxed)) {
    throw InvalidArgument(
        "tape " + name() + " cannot be split into " + std::to_string(n),
        "split once, into one part or more, while nothing is taken above the floor");
  }
  const std::size_t part = round_down((end_ - head) / n, kLine);
  if (part == 0)
    throw_full(checked_mul(n, kLine).value_or(std::numeric_limits<std::size_t>::max()));
  prepare(part * n);
  TapeOptions options = {
      .name = name(), .wipe_on_clear = cold_->options.wipe_on_clear, .spill = cold_->options.spill};
  std::vector<Tape> children;
  children.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    auto* first = reinterpret_cast<std::byte*>(head + i * part);
    children.push_back(over(Block::borrow({first, part}), options));
  }
  cold_->children = std::move(children);
  head_.store(head + part * n, std::memory_order_relaxed);
  raise_floor();
  on_give_back_ |= kChildren;
  return cold_->children;
}

std::span<Tape> Tape::children() noexcept {
  return cold_ == nullptr ? std::span<Tape>{} : std::span(cold_->children);
}

const std::string& Tape::name() const noexcept {
  static const std::string none = "none";
  return cold_ == nullptr ? none : cold_->options.name;
}

const Block& Tape::block() const noexcept {
  static const Block none;
  return cold_ == nullptr ? none : cold_->block;
}

TapeStat Tape::stat() const noexcept {
  TapeStat stat = {.reserved = total(),
                   .committed = committed(),
                   .used = used(),
                   .peak = peak(),
                   .planned = floor(),
                   .clears = clears()};
  if (cold_ == nullptr) return stat;
  stat.spilled = cold_->spilled.load(std::memory_order_relaxed);
  stat.spilled_peak = cold_->spilled_peak.load(std::memory_order_relaxed);
  stat.spills = cold_->spills.load(std::memory_order_relaxed);
  stat.refused = cold_->refused.load(std::memory_order_relaxed);
  stat.grows = cold_->grows.load(std::memory_order_relaxed);
  stat.page_size = cold_->page_size.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < kWishes; ++i) {
    stat.unmet[i] = cold_->unmet[i].load(std::memory_order_relaxed);
  }
  return stat;
}

void Tape::throw_full(std::size_t bytes) const { throw TapeFull(name(), bytes, used(), total()); }

TAPEDECK_ABI_END
}  // namespace tapedeck
