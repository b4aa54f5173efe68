// SPDX-License-Identifier: Apache-2.0
// Options that a block requests from the kernel but can work without: huge pages, NUMA nodes,
// locked pages, exclusion from core dumps and forks.

#include <array>
#include <cerrno>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "memory/block_state.hpp"
#include "os/limits.hpp"
#include "os/mappings.hpp"
#include "os/pages.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::internal {

void note_unmet(std::vector<Unmet>& all, Wish wish, int error, const std::string& why) {
  std::string text = std::string(to_string(wish)) + ": " + errno_name(error);
  if (!why.empty()) text += " (" + why + ")";
  forget_unmet(all, wish);
  all.push_back({.wish = wish, .error = error, .text = std::move(text)});
}

void note_unmet_lock(std::vector<Unmet>& all, int error, std::uint64_t bytes, std::string limit) {
  if (limit.empty()) {
    const std::size_t most = os::lock_limit();
    limit = most == std::numeric_limits<std::size_t>::max() ? "none" : to_iec(most);
  }
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

const char* to_string(Wish wish) noexcept {
  constexpr std::array names = {"huge pages", "lock", "kept out of core dumps", "fork policy",
                                "NUMA placement"};
  static_assert(names.size() == kWishes);
  return names[static_cast<std::size_t>(wish)];
}

const std::vector<Unmet>& Block::unmet() const noexcept {
  static const std::vector<Unmet> none;
  return state_ ? state_->unmet : none;
}

void Block::State::ask(Wish wish, std::byte* at, std::size_t bytes, os::Advice advice) {
  if (const int error = os::advise(at, bytes, advice); error != 0) {
    internal::note_unmet(unmet, wish, error);
  }
}

void Block::State::ask_kernel(std::byte* at, std::size_t bytes) {
  const bool has_explicit = page != os::page_size();
  if (!has_explicit && kind != BlockKind::file) {
    if (options.huge_pages != HugePages::never) {
      ask(Wish::huge_pages, at, bytes, os::Advice::huge_pages);
    } else {
      // A kernel without huge pages refuses this, which has the requested effect anyway.
      static_cast<void>(os::advise(at, bytes, os::Advice::no_huge_pages));
    }
  }
  if (options.numa.policy != NumaPlacement::Policy::local && kind != BlockKind::file) {
    ask_nodes(at, bytes);
  }
  if (!options.core_dump) ask(Wish::core_dump, at, bytes, os::Advice::no_core_dump);
  if (options.on_fork == OnFork::omit) ask(Wish::on_fork, at, bytes, os::Advice::not_on_fork);
  if (options.on_fork == OnFork::zero) ask(Wish::on_fork, at, bytes, os::Advice::zero_on_fork);
}

void Block::State::ask_nodes(std::byte* at, std::size_t bytes) {
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
  }
}

bool Block::State::lock_range(std::byte* at, std::size_t bytes) {
  const int error = os::lock(at, bytes);
  if (error != 0) internal::note_unmet_lock(unmet, error, bytes);
  if (error != 0 || kind != BlockKind::borrowed) return error == 0;
  // The kernel then says that it locked the pages, and does not.
  const bool droppable = os::any_mapping_has({at, bytes}, os::MappingFlag::droppable);
  if (droppable) {
    internal::note_unmet(unmet, Wish::lock, EOPNOTSUPP, "the kernel may drop this memory anyway");
  }
  return !droppable;
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
