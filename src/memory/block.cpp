// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/block.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "base/on_failure.hpp"
#include "memory/block_state.hpp"
#include "memory/warm_pages.hpp"
#include "os/file.hpp"
#include "os/huge_pages.hpp"
#include "os/memory_file.hpp"
#include "os/pages.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

/// The subject of a message.
std::string name_of(const BlockOptions& options) {
  return options.name.empty() ? "a block" : options.name;
}

[[nodiscard]] std::size_t rounded_to(std::size_t bytes, std::size_t page,
                                     const BlockOptions& options) {
  if (bytes == 0) {
    throw InvalidArgument({.argument = "bytes", .value = 0, .limit = 1},
                          name_of(options) + " cannot have 0 bytes", "request at least 1");
  }
  // Guard pages and alignment need address space, too.
  constexpr std::size_t kMostOfABlock = std::numeric_limits<std::size_t>::max() / 4;
  const auto rounded = checked_round_up(bytes, page);
  if (!rounded || *rounded > kMostOfABlock) {
    throw InvalidArgument({.argument = "bytes", .value = bytes, .limit = kMostOfABlock},
                          name_of(options) + " of " + to_iec(bytes) + " exceeds the address space",
                          "request less");
  }
  return *rounded;
}

[[noreturn]] void throw_system_error(const os::Opened& opened, const BlockOptions& options,
                                     std::size_t bytes = 0) {
  throw SystemError(
      {.call = opened.call, .number = opened.error, .bytes = bytes, .object = options.name});
}

void require_memory(BlockKind kind, const std::string& what) {
  if (kind != BlockKind::none) return;
  throw WrongState(
      "block", ObjectState::empty,
      "a block without memory cannot " + what + ", because it was moved from or never reserved",
      "create it with Block::reserve, or use the block that it was moved to");
}

[[noreturn]] void throw_outside_block(std::size_t offset, std::size_t bytes, std::size_t end,
                                      const std::string& what) {
  const bool begins_inside = offset <= end;
  throw InvalidArgument({.argument = begins_inside ? "bytes" : "offset",
                         .value = begins_inside ? bytes : offset,
                         .limit = begins_inside ? end - offset : end},
                        "a block cannot " + what + " of " + to_iec(bytes) + " at byte " +
                            std::to_string(offset) + ", because only " + to_iec(end) +
                            " of it are accessible",
                        "use a range inside the block");
}

}  // namespace

Block::Block() noexcept = default;
Block::Block(Block&&) noexcept = default;
Block& Block::operator=(Block&&) noexcept = default;
Block::~Block() = default;
Block::Block(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

// Reserves addresses only; the kernel charges no memory before it is committed.
void Block::State::reserve(std::size_t bytes, std::size_t align) {
  const std::size_t page_bytes = os::page_size();
  const std::size_t guard = options.guard_pages ? page_bytes : 0;
  const std::size_t slack = align > page_bytes ? align : 0;
  const std::size_t extent = rounded_to(bytes, page_bytes, options);
  mapping_bytes = extent + 2 * guard + slack;
  const os::Mapped mapped = os::reserve(mapping_bytes);
  if (mapped.error != 0) {
    os::require_mapping_room(mapped.error, mapping_bytes, "reserving " + name_of(options));
    throw SystemError({.call = mapped.call,
                       .number = mapped.error,
                       .path = path,
                       .bytes = mapping_bytes,
                       .object = options.name},
                      "reserve less, or raise the address space limit (ulimit -v)");
  }
  mapping = mapped.at;
  const auto first = reinterpret_cast<std::uintptr_t>(mapping) + guard;
  data = reinterpret_cast<std::byte*>(slack != 0 ? round_up(first, align) : first);
  size = bytes;
}

// Maps all of a file, or of another process's shared memory, over the reserved addresses.
void Block::State::map_whole(os::Access access) {
  foreign = true;
  const os::Mapped mapped = os::map_shared(file.get(), size, access, data);
  if (mapped.error != 0) {
    throw SystemError({.call = mapped.call,
                       .number = mapped.error,
                       .path = path,
                       .bytes = size,
                       .object = options.name});
  }
  if (access == os::Access::write) claim_pages(data, size);
  ask_kernel(data, size);
  if (options.lock) lock_range(data, size);
  announced.add(options, {data, size});
  committed = size;
}

Block Block::reserve(std::size_t bytes, const BlockOptions& options) {
  auto state = std::make_unique<State>(BlockKind::anonymous, options);
  if (options.huge_pages == HugePages::explicit_pages) {
    state->explicit_page = os::huge_page_size();
    if (state->explicit_page == 0) internal::note_unmet_huge_pages(state->unmet, ENOSYS);
  }
  const std::size_t size = rounded_to(bytes, state->granule(), options);
  state->reserve(size, state->huge_alignment(size));
  return Block(std::move(state));
}

// An address where huge pages can begin, if there is room for one.
std::size_t Block::State::huge_alignment(std::size_t bytes) const {
  if (explicit_page != 0) return explicit_page;
  const std::size_t huge = options.huge_pages == HugePages::never ? 0 : os::transparent_page_size();
  return bytes >= huge ? huge : 0;
}

Block Block::map_file(const std::filesystem::path& path, const BlockOptions& options) {
  os::OpenedFile opened = os::open_regular_file(path);
  if (opened.facts.bytes == 0) {
    throw FormatError({.path = path.string(), .fault = FormatFault::cut_off}, "the file is empty");
  }
  auto state = std::make_unique<State>(BlockKind::file, options);
  state->path = path.string();
  state->can_write = false;
  state->reserve(opened.facts.bytes, 0);
  state->file = std::move(opened.descriptor);
  state->cache_reported = os::mincore_reports(state->file.get());
  state->map_whole(os::Access::read);
  state->file = {};  // the mapping keeps the file open; descriptors are a limited resource
  return Block(std::move(state));
}

Block Block::create_shared(std::size_t bytes, const BlockOptions& options) {
  int refusal = 0;
  if (options.huge_pages == HugePages::explicit_pages) {
    const std::size_t huge = os::huge_page_size();
    auto state = std::make_unique<State>(BlockKind::shared, options);
    state->explicit_page = state->page = huge;
    refusal = huge == 0 ? ENOSYS : state->create_file(rounded_to(bytes, huge, options)).error;
    if (refusal == 0) return Block(std::move(state));
  }
  auto state = std::make_unique<State>(BlockKind::shared, options);
  const std::size_t size = rounded_to(bytes, os::page_size(), options);
  if (const os::Opened made = state->create_file(size); made.error != 0) {
    throw_system_error(made, options, size);
  }
  if (refusal != 0) internal::note_unmet_huge_pages(state->unmet, refusal);
  return Block(std::move(state));
}

// If the pool of huge pages is too small, either creating the file or mapping it can fail.
os::Opened Block::State::create_file(std::size_t bytes) {
  os::Opened opened = os::create_memory_file("tapedeck", bytes, explicit_page);
  if (opened.error != 0) return opened;
  file = std::move(opened.descriptor);
  reserve(bytes, huge_alignment(bytes));
  const os::Mapped mapped = os::map_shared(file.get(), bytes, os::Access::none, data);
  return {.error = mapped.error, .call = mapped.call};
}

Block Block::open_shared(int descriptor, bool writable, const BlockOptions& options) {
  os::Opened opened = os::duplicate(descriptor);
  if (opened.error != 0) throw_system_error(opened, options);
  const os::FileFacts facts = os::facts(opened.descriptor.get());
  if (facts.error != 0) {
    throw SystemError({.call = "fstat", .number = facts.error, .object = options.name});
  }
  if (facts.bytes == 0) {
    throw InvalidArgument({.argument = "descriptor"}, "the shared memory is empty",
                          "set its size before opening it");
  }
  auto state = std::make_unique<State>(BlockKind::shared, options);
  state->can_write = writable;
  const std::size_t huge = os::huge_page_of(opened.descriptor.get());
  if (huge != 0) state->explicit_page = state->page = huge;
  state->reserve(facts.bytes, state->huge_alignment(facts.bytes));
  state->file = std::move(opened.descriptor);
  state->map_whole(writable ? os::Access::write : os::Access::read);
  return Block(std::move(state));
}

Block Block::borrow(std::span<std::byte> memory) {
  auto state = std::make_unique<State>(BlockKind::borrowed);
  state->data = memory.data();
  state->size = memory.size();
  state->committed = memory.size();
  return Block(std::move(state));
}

Block Block::part(std::size_t offset, std::size_t bytes) {
  if (bytes == 0 || offset > size() || bytes > size() - offset) {
    require_memory(kind(), "have parts");
    throw_outside_block(offset, bytes, size(), "have a part");
  }
  if (kind() == BlockKind::borrowed) return borrow({data() + offset, bytes});
  if (kind() != BlockKind::anonymous) {
    throw InvalidArgument({.argument = "Block"},
                          "a block that maps a file or shared memory cannot be divided into parts",
                          "use anonymous or borrowed memory");
  }
  if (offset % os::page_size() != 0) {
    throw InvalidArgument(
        {.argument = "offset", .value = offset, .limit = round_down(offset, os::page_size())},
        "a part at byte " + std::to_string(offset) + " would begin inside a page",
        "align the offset to a page boundary");
  }
  auto part = std::make_unique<State>(BlockKind::anonymous, state_->options);
  part->data = data() + offset;
  part->size = std::min(round_up(bytes, os::page_size()), size() - offset);
  part->whole = state_->whole;
  const std::size_t huge = state_->explicit_page;
  if (huge != 0 && (offset % huge != 0 || part->size % huge != 0)) {
    internal::note_unmet(part->unmet, Wish::huge_pages, EINVAL,
                         "the part does not consist of whole huge pages");
  } else {
    part->explicit_page = huge;
  }
  return Block(std::move(part));
}

std::byte* Block::data() const noexcept { return state_ ? state_->data : nullptr; }
std::size_t Block::size() const noexcept { return state_ ? state_->size : 0; }
std::size_t Block::committed() const noexcept { return state_ ? state_->committed.load() : 0; }
BlockKind Block::kind() const noexcept { return state_ ? state_->kind : BlockKind::none; }
bool Block::writable() const noexcept { return state_ && state_->can_write; }
std::size_t Block::page_size() const noexcept { return state_ ? state_->page : 0; }
int Block::descriptor() const noexcept { return state_ ? state_->file.get() : -1; }

void Block::commit(std::size_t bytes) {
  if (bytes > size()) {
    require_memory(kind(), "commit " + to_iec(bytes));
    throw InvalidArgument(
        {.argument = "bytes", .value = bytes, .limit = size()},
        name_of(state_->options) + " of " + to_iec(size()) + " cannot commit " + to_iec(bytes),
        "reserve a larger block");
  }
  if (bytes <= committed()) return;
  const std::size_t to = std::min(round_up(bytes, state_->granule()), size());
  state_->commit_range(committed(), to);
}

bool Block::try_commit(std::size_t bytes) noexcept {
  return internal::succeeds([&] { commit(bytes); });
}

void Block::State::commit_range(std::size_t from, std::size_t to) {
  std::byte* at = data + from;
  const std::size_t bytes = to - from;
  const std::size_t page_before = page;
  internal::OnFailure undo_claim([&] {
    page = page_before;
    claim.shrink_to(at);
  });
  if (const int error = make_usable(at, bytes); error != 0) {
    os::require_mapping_room(error, bytes, "committing " + name_of(options));
    throw SystemError({.call = "mprotect", .number = error, .bytes = bytes, .object = options.name},
                      "commit less, or check vm.overcommit_memory and vm.max_map_count");
  }
  internal::OnFailure undo([&] { static_cast<void>(give_back(at, bytes)); });
  ask_kernel(at, bytes);
  if (options.lock) lock_range(at, bytes);
  announced.add(options, {at, bytes});
  undo.completed();
  undo_claim.completed();
  committed = to;
}

// Once they are usable, each of the pages may be touched at any time; in a process that has called
// mlockall, the kernel does so at once.
void Block::State::claim_pages(std::byte* at, std::size_t bytes) {
  const os::PageSource source = page_source();
  const bool known = source == os::PageSource::new_pages || source == os::PageSource::page_cache;
  if (options.overcommit || !known) return;
  if (options.on_fork == OnFork::zero) claim.renew_on_fork();
  os::require_room(claim.add_pages({at, bytes}, source, bytes), bytes,
                   "committing " + name_of(options),
                   "free some memory, commit less, or plan for less");
}

int Block::State::make_usable(std::byte* at, std::size_t bytes) {
  if (kind == BlockKind::anonymous && explicit_page != 0) {
    const int error = os::map_huge(at, bytes, explicit_page);
    if (error == 0) {
      if (at == data) page = explicit_page;
      return 0;
    }
    internal::note_unmet_huge_pages(unmet, error);
    page = os::page_size();
  }
  claim_pages(at, bytes);
  return os::allow_write(at, bytes);
}

// If the kernel refuses one method of dropping the pages, another is tried. In the worst case the
// pages stay and are zeroed here, so that memory that is committed again always reads as zero.
bool Block::State::give_back(std::byte* at, std::size_t bytes) const noexcept {
  if (kind == BlockKind::anonymous && os::reserve_again(at, bytes) == 0) return true;
  const auto offset = static_cast<std::uint64_t>(at - data);
  const bool dropped = kind == BlockKind::anonymous
                           ? os::advise(at, bytes, os::Advice::drop_pages) == 0
                           : os::punch_hole(file.get(), offset, bytes) == 0;
  if (!dropped) std::memset(at, 0, bytes);
  return os::forbid_access(at, bytes) == 0 && dropped;
}

std::size_t Block::decommit(std::size_t keep) noexcept {
  if (!state_ || state_->kind == BlockKind::borrowed) return 0;
  const std::size_t to = committed();
  const std::size_t from = std::min(round_up(std::min(keep, to), state_->granule()), to);
  if (from == to) return 0;
  std::byte* at = state_->data + from;
  if (state_->foreign) {
    return os::advise(at, to - from, os::Advice::drop_pages) == 0 ? to - from : 0;
  }
  state_->announced.remove_from(state_->options, at);
  state_->claim.shrink_to(at);
  state_->committed = from;
  return state_->give_back(at, to - from) ? to - from : 0;
}

os::PageSource Block::State::page_source() const noexcept {
  if (page != os::page_size()) return os::PageSource::huge_page_pool;
  if (kind == BlockKind::shared && !foreign) return os::PageSource::page_cache;
  if (kind != BlockKind::file && kind != BlockKind::shared) return os::PageSource::new_pages;
  const bool reported =
      kind == BlockKind::shared ? os::mincore_reports(file.get()) : cache_reported;
  return reported ? os::PageSource::page_cache : os::PageSource::unreported_cache;
}

// Borrowed memory may begin and end inside a page. All pages that it touches become resident.
internal::PagesToWarm Block::State::pages_of(std::byte* at, std::size_t bytes) const noexcept {
  // Borrowed memory may be another block's, such as that of a tape that was split.
  const bool claimed =
      kind == BlockKind::borrowed ? os::ResidentLedger::covers({at, bytes}) : claim.has_pages();
  return {.pages = os::pages_around({at, bytes}), .source = page_source(), .claimed = claimed};
}

WarmResult Block::warm(std::size_t offset, std::size_t bytes, const WarmOptions& options) {
  if (offset > committed() || bytes > committed() - offset) {
    require_memory(kind(), "warm a range");
    throw_outside_block(offset, bytes, committed(), "warm a range");
  }
  if (bytes == 0) return {.present = 0};
  const auto access = writable() ? os::Access::write : os::Access::read;
  const internal::PagesToWarm what = state_->pages_of(data() + offset, bytes);
  WarmResult result = internal::warm_pages(what, access, options);
  if (result.present) state_->claim.reduce(committed() - *result.present);
  if (result) state_->look_at_huge_pages(data() + offset, bytes);
  return result;
}

Residency Block::residency(std::size_t offset, std::size_t bytes) const {
  if (offset > size() || bytes > size() - offset) {
    require_memory(kind(), "report the residency of a range");
    throw_outside_block(offset, bytes, size(), "report the residency");
  }
  if (bytes == 0) return {.present = 0, .huge = 0};
  return {.present = os::page_states(data() + offset, bytes).present,
          .huge = os::huge_bytes(data(), size())};
}

}  // namespace tapedeck::inline TAPEDECK_ABI
