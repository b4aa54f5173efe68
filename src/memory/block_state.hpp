// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Block::State`: the private data of a `Block`.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "memory/announced_ranges.hpp"
#include "memory/unmet.hpp"
#include "memory/warm_pages.hpp"
#include "os/file.hpp"
#include "os/mappings.hpp"
#include "os/resident_ledger.hpp"
#include "os/vm.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct Block::State {
  explicit State(BlockKind block_kind, BlockOptions block_options = {})
      : kind(block_kind), options(std::move(block_options)) {}
  ~State() {
    claim.release();  // before the addresses may be reused
    announced.remove_from(options, data);
    if (mapping != nullptr) static_cast<void>(internal::os::unmap(mapping, mapping_bytes));
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void reserve(std::size_t bytes, std::size_t align);
  [[nodiscard]] std::size_t huge_alignment(std::size_t bytes) const;
  void map_whole(internal::os::Access access);
  void commit_range(std::size_t from, std::size_t to);
  [[nodiscard]] internal::os::Opened create_file(std::size_t bytes);
  [[nodiscard]] int make_usable(std::byte* at, std::size_t bytes);
  [[nodiscard]] bool give_back(std::byte* at, std::size_t bytes) const noexcept;

  // Requests that the kernel may refuse without harm; see block_wishes.cpp.
  bool ask(Wish wish, std::byte* at, std::size_t bytes, internal::os::Advice advice);
  void ask_kernel(std::byte* at, std::size_t bytes);
  void ask_huge_pages(std::byte* at, std::size_t bytes);
  void ask_nodes(std::byte* at, std::size_t bytes);
  bool lock_range(std::byte* at, std::size_t bytes);

  void claim_pages(std::byte* at, std::size_t bytes);
  [[nodiscard]] internal::PagesToWarm pages_of(std::byte* at, std::size_t bytes) const noexcept;
  [[nodiscard]] internal::os::PageSource page_source() const noexcept;

  // The kernel also reports success for requests that have no effect; these look at the effect.
  void look_at_flag(Wish wish, std::byte* at, std::size_t bytes, internal::os::MappingFlag flag);
  void look_at_huge_pages(std::byte* at, std::size_t bytes);
  [[nodiscard]] std::size_t granule() const noexcept {
    return explicit_page != 0 ? explicit_page : internal::os::page_size();
  }

  BlockKind kind;
  BlockOptions options;
  bool can_write = true;
  bool foreign = false;          // the content belongs to a file or another process
  bool cache_reported = false;   // the kernel reports which pages of a mapped file are in RAM
  std::byte* mapping = nullptr;  // the range to unmap, including guard pages and slack
  std::size_t mapping_bytes = 0;
  std::byte* data = nullptr;
  std::size_t size = 0;
  std::atomic<std::size_t> committed = 0;
  std::size_t explicit_page = 0;  // size of the requested hugetlb pages; 0: none
  std::size_t page = internal::os::page_size();
  internal::os::Descriptor file;
  std::string path;                           // path of a mapped file, for errors
  internal::os::ResidentLedger::Claim claim;  // the committed pages that this block adds to RAM
  internal::AnnouncedRanges announced;
  std::vector<Unmet> unmet;
  State* whole = this;                     // of a part: the state of the block that it is part of
  std::atomic<bool> huge_on_touch{false};  // of the whole: the host's setting was looked at
};

}  // namespace tapedeck::inline TAPEDECK_ABI
