// SPDX-License-Identifier: Apache-2.0
// Options that a block requests from the kernel but can work without: huge pages, NUMA nodes,
// locked pages, exclusion from core dumps and forks.

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "memory/block_state.hpp"
#include "os/faults.hpp"
#include "os/huge_pages.hpp"
#include "os/limits.hpp"
#include "os/mappings.hpp"
#include "os/pages.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::internal {

void note_unmet(std::vector<Unmet>& all, Wish wish, int error, const std::string& why) {
  std::string text = std::string(to_string(wish)) + ": " + errno_name(error);
  if (!why.empty()) text += " (" + why + ")";
  forget_unmet(all, wish);
  all.push_back({.wish = wish, .error = error, .text = std::move(text)});
}

void note_unmet_lock(std::vector<Unmet>& all, int error, std::uint64_t bytes,
                     const std::optional<os::Budget>& refused) {
  const std::size_t most = refused ? refused->available : os::lock_limit();
  std::string limit = most == std::numeric_limits<std::size_t>::max() ? "none" : to_iec(most);
  if (refused) limit += " by " + refused->limit;
  note_unmet(all, Wish::lock, error, "requested " + to_iec(bytes) + ", limit " + limit);
}

// EINVAL does not mean that the pool is empty: it is what a kernel says that has no pages of this
// size, and, up to Linux 5.15, one that cannot move them (mremap) to the block's addresses.
void note_unmet_huge_pages(std::vector<Unmet>& all, int error) {
  const char* why = "";
  if (error == ENOMEM) why = "see /proc/sys/vm/nr_hugepages";
  if (error == ENOSYS) why = "this kernel has none";
  if (error == EINVAL) {
    why = "this kernel has none of the size, or is older than Linux 5.16 and cannot move them";
  }
  note_unmet(all, Wish::huge_pages, error, why);
}

void forget_unmet(std::vector<Unmet>& all, Wish wish) {
  std::erase_if(all, [wish](const Unmet& one) { return one.wish == wish; });
}

}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;

namespace {

constexpr unsigned kBlockKinds = static_cast<unsigned>(BlockKind::borrowed) + 1;
constexpr const char* kDoesNothing = "the kernel reports success and does nothing";

}  // namespace

const char* to_string(Wish wish) noexcept {
  constexpr std::array names = {"huge pages",  "lock",           "kept out of core dumps",
                                "fork policy", "NUMA placement", "growth without system calls"};
  static_assert(names.size() == kWishes);
  return names[static_cast<std::size_t>(wish)];
}

const std::vector<Unmet>& Block::unmet() const noexcept {
  static const std::vector<Unmet> none;
  return state_ ? state_->unmet : none;
}

bool Block::State::ask(Wish wish, std::byte* at, std::size_t bytes, os::Advice advice) {
  const int error = os::advise(at, bytes, advice);
  if (error != 0) internal::note_unmet(unmet, wish, error);
  return error == 0;
}

void Block::State::ask_kernel(std::byte* at, std::size_t bytes) {
  ask_huge_pages(at, bytes);
  if (options.numa.policy != NumaPlacement::Policy::local) ask_nodes(at, bytes);
  if (!options.core_dump && ask(Wish::core_dump, at, bytes, os::Advice::no_core_dump)) {
    look_at_flag(Wish::core_dump, at, bytes, os::MappingFlag::not_dumped);
  }
  if (options.on_fork == OnFork::omit && ask(Wish::on_fork, at, bytes, os::Advice::not_on_fork)) {
    look_at_flag(Wish::on_fork, at, bytes, os::MappingFlag::not_forked);
  }
  if (options.on_fork == OnFork::zero && ask(Wish::on_fork, at, bytes, os::Advice::zero_on_fork)) {
    look_at_flag(Wish::on_fork, at, bytes, os::MappingFlag::zeroed_on_fork);
  }
}

void Block::State::look_at_flag(Wish wish, std::byte* at, std::size_t bytes, os::MappingFlag flag) {
  // A kernel that follows this advice once always does, so this is found out once in a process: the
  // kernel visits every page of the process to report the flags.
  static std::atomic<std::uint32_t> followed{0};
  const auto bit = std::uint32_t{1}
                   << (static_cast<unsigned>(flag) * kBlockKinds + static_cast<unsigned>(kind));
  if ((followed.load(std::memory_order_relaxed) & bit) != 0 && !os::InjectFault::idles()) return;
  if (os::flag_in({at, bytes}, flag).in_all) {
    followed.fetch_or(bit, std::memory_order_relaxed);
  } else {
    internal::note_unmet(unmet, wish, EOPNOTSUPP, kDoesNothing);
  }
}

// A range that was advised gets huge pages when it is touched, if at all, so this looks at the
// host's setting. Of memory that another process created, the pages may be huge already.
void Block::State::ask_huge_pages(std::byte* at, std::size_t bytes) {
  if (page != os::page_size()) return;  // explicit pages
  if (kind == BlockKind::file) {
    if (options.huge_pages != HugePages::explicit_pages) return;
    return internal::note_unmet(unmet, Wish::huge_pages, EOPNOTSUPP,
                                "the pages of a mapped file are the page cache's");
  }
  if (options.huge_pages == HugePages::never) {
    // A kernel without huge pages refuses this, which has the requested effect anyway.
    static_cast<void>(os::advise(at, bytes, os::Advice::no_huge_pages));
    return;
  }
  if (!ask(Wish::huge_pages, at, bytes, os::Advice::huge_pages)) return;
  // A pool that is too small is noted already, and transparent pages are only the next best.
  if (options.huge_pages == HugePages::explicit_pages) return;
  const std::size_t huge = os::transparent_page_size();
  if (foreign || huge == 0 || whole->size < huge) return;
  if (whole->huge_on_touch.load(std::memory_order_relaxed)) return;
  const std::string refusal = os::refusal_on_touch(
      kind == BlockKind::shared ? os::TouchedMemory::shared : os::TouchedMemory::anonymous);
  if (refusal.empty()) return whole->huge_on_touch.store(true, std::memory_order_relaxed);
  internal::note_unmet(unmet, Wish::huge_pages, EOPNOTSUPP,
                       refusal + "; warm the memory to move it into huge pages");
}

// Huge pages are charged to the process that moves memory into them, so what another process has
// paid for stays as it is. @pre the pages are in RAM.
void Block::State::look_at_huge_pages(std::byte* at, std::size_t bytes) {
  const bool takes_advice = kind == BlockKind::anonymous || (kind == BlockKind::shared && !foreign);
  if (!takes_advice || options.huge_pages == HugePages::never || page != os::page_size()) return;
  const std::optional<int> error = os::make_huge(at, bytes);
  if (!error || options.huge_pages == HugePages::explicit_pages) return;
  if (*error != 0) {
    internal::note_unmet(unmet, Wish::huge_pages, *error,
                         "the kernel could not move all of the memory into huge pages");
  } else if (at == data && bytes >= committed) {
    internal::forget_unmet(unmet, Wish::huge_pages);
  }
}

void Block::State::ask_nodes(std::byte* at, std::size_t bytes) {
  if (kind == BlockKind::file) {
    return internal::note_unmet(unmet, Wish::numa, EOPNOTSUPP,
                                "the pages of a mapped file are the page cache's");
  }
  std::vector<unsigned> nodes;
  for (unsigned node = 0; node < NumaNodes::kMost; ++node) {
    if (options.numa.nodes.contains(node)) nodes.push_back(node);
  }
  if (nodes.empty()) {
    for (const NumaNode& node : os::numa_nodes()) {
      if (node.allowed) nodes.push_back(node.id);
    }
  }
  const os::NodePolicy policy = options.numa.policy == NumaPlacement::Policy::bind
                                    ? os::NodePolicy::bind
                                    : os::NodePolicy::interleave;
  if (const int error = os::place_on_nodes(at, bytes, policy, nodes); error != 0) {
    internal::note_unmet(unmet, Wish::numa, error,
                         error == EPERM ? "a container needs the capability CAP_SYS_NICE for mbind"
                                        : "see /sys/devices/system/node/online");
  } else if (!os::is_placed_on(at, policy, nodes).value_or(true)) {
    internal::note_unmet(unmet, Wish::numa, EOPNOTSUPP,
                         "the kernel left nodes out; see /sys/devices/system/node/online");
  }
}

bool Block::State::lock_range(std::byte* at, std::size_t bytes) {
  if (bytes == 0) return true;
  const internal::PagesEnd locked = internal::lock_pages(pages_of(at, bytes));
  if (locked.error != 0) {
    internal::note_unmet_lock(unmet, locked.error, bytes, locked.refused);
    return false;
  }
  // Only borrowed memory can consist of several mappings.
  const bool droppable =
      kind == BlockKind::borrowed && os::any_mapping_has({at, bytes}, os::MappingFlag::droppable);
  const auto first = reinterpret_cast<std::byte*>(
      round_down(reinterpret_cast<std::uintptr_t>(at), os::page_size()));
  if (droppable || !os::may_be_locked(first)) {
    internal::note_unmet(unmet, Wish::lock, EOPNOTSUPP,
                         droppable ? "the kernel may drop this memory anyway" : kDoesNothing);
    return false;
  }
  look_at_huge_pages(at, bytes);
  return true;
}

void NumaNodes::insert(unsigned node) {
  if (node >= kMost) {
    throw InvalidArgument(
        {.argument = "NumaPlacement::nodes", .value = node, .limit = kMost - 1},
        "NUMA node " + std::to_string(node) + " is greater than " + std::to_string(kMost - 1),
        "see /sys/devices/system/node/online for the nodes of this host");
  }
  nodes_.set(node);
}

bool Block::lock() {
  if (!state_) return false;
  state_->options.lock = true;
  if (!state_->lock_range(state_->data, committed())) return false;
  internal::forget_unmet(state_->unmet, Wish::lock);
  return true;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
