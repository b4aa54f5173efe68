// SPDX-License-Identifier: Apache-2.0
// Serves takes that do not fit on a full tape from its SpillSource.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "memory/tape_parts.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/spill_source.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

// A header at the end of the padding (one line or more) in front of the requested bytes.
struct Tape::Spilled {
  Spilled* older;
  void* block;
  std::size_t block_bytes;
  std::size_t align;
  std::size_t bytes;

  [[nodiscard]] std::uintptr_t payload() const noexcept {
    return reinterpret_cast<std::uintptr_t>(this + 1);
  }
};

void* Tape::spill(std::size_t bytes, std::size_t align) noexcept {
  if (cold_ == nullptr) return nullptr;
  SpillSource* source = cold_->options.spill;
  const std::size_t block_align = std::max(align, kLine);
  static_assert(sizeof(Spilled) <= kLine);
  const std::optional<std::size_t> block_bytes = checked_add(bytes, block_align);
  void* block =
      source != nullptr && block_bytes ? source->allocate(*block_bytes, block_align) : nullptr;
  if (block == nullptr) {
    internal::increase(cold_->refused, std::uint64_t{1});
    return nullptr;
  }
  std::byte* payload = static_cast<std::byte*>(block) + block_align;
  spilled_ = std::construct_at(reinterpret_cast<Spilled*>(payload) - 1,
                               Spilled{.older = spilled_,
                                       .block = block,
                                       .block_bytes = *block_bytes,
                                       .align = block_align,
                                       .bytes = bytes});
  if (source->keeps_memory()) {
    internal::checking::unpoison(reinterpret_cast<std::uintptr_t>(payload), bytes);
  }
  on_give_back_ |= kSpilled;
  internal::increase(cold_->spills, std::uint64_t{1});
  const std::uint64_t now = internal::increase(cold_->spilled, std::uint64_t{bytes});
  if (now > cold_->spilled_peak.load(std::memory_order_relaxed)) {
    cold_->spilled_peak.store(now, std::memory_order_relaxed);
  }
  return payload;
}

// Frees the newest blocks first and stops at `keep`, the newest one when the mark was made.
void Tape::free_spilled(const Spilled* keep) noexcept {
  while (spilled_ != nullptr && spilled_ != keep) {
    const Spilled gone = *spilled_;
    if ((on_give_back_ & kWipe) != 0) {  // with the header, whose addresses are not for others
      internal::overwrite(spilled_->payload() - sizeof gone, spilled_->payload() + gone.bytes, 0);
    }
    if (cold_->options.spill->keeps_memory()) {
      internal::checking::poison(spilled_->payload(), gone.bytes);
    }
    cold_->options.spill->deallocate(gone.block, gone.block_bytes, gone.align);
    spilled_ = gone.older;
    internal::increase(cold_->spilled, std::uint64_t{0} - gone.bytes);
  }
  if (spilled_ == nullptr) on_give_back_ &= ~std::uint32_t{kSpilled};
}

bool Tape::owns_spilled(const void* address) const noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  for (const Spilled* one = spilled_; one != nullptr; one = one->older) {
    if (at - one->payload() < one->bytes) return true;
  }
  return false;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
