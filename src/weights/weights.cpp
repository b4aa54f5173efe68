// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/weights.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <utility>

#include "base/amounts.hpp"
#include "memory/unmet.hpp"
#include "os/limits.hpp"
#include "os/memory_file.hpp"
#include "os/pages.hpp"
#include "os/resident_ledger.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/weights/huge_page_trial.hpp"
#include "weights/missing_bytes.hpp"
#include "weights/placement.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

/// Below this size, the trial of huge pages takes longer than it could save.
constexpr std::uint64_t kWorthATrial = 512_MiB;

void require_whole(const TensorFile& file) {
  if (!file.truncated()) return;
  throw FormatError(
      {.path = file.path.string(), .offset = file.size, .fault = FormatFault::cut_off},
      "the file is truncated: its tensors end at byte " + std::to_string(file.data_end) +
          ", and it lacks " + internal::count_of(file.data_end - file.size, "byte"),
      "copy or download it again");
}

os::Descriptor open_checked(const TensorFile& file, std::size_t descriptors) {
  os::OpenedFile opened = os::open_file(file.path, descriptors);
  if (opened.facts.stamp != file.stamp) {
    throw FormatError({.path = file.path.string(), .fault = FormatFault::changed},
                      "the file was replaced after its header was read", "open the model again");
  }
  return std::move(opened.descriptor);
}

/// Opens the files of a directory and decides how each one is brought in.
class Opener {
 public:
  Opener(internal::WeightsState& state, const WeightsOptions& options)
      : state_(state), options_(options) {}

  void open_all() {
    find_misaligned();
    const std::span<const TensorFile> files = state_.directory.files();
    for (const TensorFile& file : files) require_whole(file);
    for (std::size_t i = 0; i < files.size(); ++i) open_file(files[i], i);
  }

 private:
  // One pass for all files, since there may be many files and many tensors.
  void find_misaligned() {
    misaligned_.resize(state_.directory.files().size());
    for (const TensorEntry& entry : state_.directory.entries()) {
      if (!entry.aligned && entry.bytes != 0) misaligned_[entry.file] = true;
    }
  }

  void open_file(const TensorFile& file, std::size_t number) {
    internal::OpenFile& open = state_.open_files.emplace_back();
    // Up to two for each file: one reads through the page cache, the other past it.
    open.buffered = open_checked(file, 2 * (state_.directory.files().size() - number));
    WeightsFile& shown = state_.files.emplace_back();
    shown.path = file.path;
    shown.bytes = file.size;
    shown.cached = os::cached_file_bytes(open.buffered.get(), 0, file.size);
    shown.way = options_.way;
    shown.why = "as requested";
    if (shown.way == Way::automatic) choose(shown, number);
    if (shown.way == Way::direct) open_direct(file, open, shown);
  }

  void choose(WeightsFile& shown, std::size_t number) {
    if (!budget_) {
      budget_ = os::memory_budget().value_or(
          os::Budget{.available = std::numeric_limits<std::size_t>::max(), .limit = {}});
    }
    const internal::WayChoice choice = internal::choose_way(
        {.bytes = shown.bytes,
         .cached = shown.cached,
         .file_system = os::file_system(state_.open_files.back().buffered.get()),
         .misaligned = misaligned_[number],
         .fits = shown.bytes <= budget_->available,
         .limit = budget_->limit});
    shown.way = choice.way;
    shown.why = choice.why;
    if (shown.way != Way::map) budget_->available -= std::min(budget_->available, shown.bytes);
  }

  // Not every file system supports direct reads.
  static void open_direct(const TensorFile& file, internal::OpenFile& open, WeightsFile& shown) {
    os::Opened opened = os::open(file.path, os::OpenFor::direct_reading);
    int error = opened.error;
    if (error == 0 && os::facts(opened.descriptor.get()).stamp != file.stamp) error = ESTALE;
    if (error == 0) {
      open.direct = std::move(opened.descriptor);
      return;
    }
    shown.way = Way::read;
    shown.why += "; direct reads are refused: " + errno_name(error);
  }

  internal::WeightsState& state_;
  const WeightsOptions& options_;
  std::vector<bool> misaligned_;
  std::optional<os::Budget> budget_;
};

HugePages huge_pages_for(const internal::WeightsState& state, const WeightsOptions& options) {
  if (options.huge_pages) return *options.huge_pages;
  std::uint64_t read = 0;
  for (const WeightsFile& file : state.files) {
    if (file.way != Way::map) read += file.bytes;
  }
  return read < kWorthATrial ? HugePages::transparent : huge_page_trial().best;
}

void add_unmet(std::vector<Unmet>& all, const std::vector<Unmet>& more) {
  for (const Unmet& one : more) {
    if (std::ranges::count(all, one.wish, &Unmet::wish) == 0) all.push_back(one);
  }
}

void map_whole(internal::WeightsState& state, const internal::WeightsSegment& segment) {
  const std::span<std::byte> memory = state.memory_of(segment);
  const os::Mapped mapped =
      os::map_shared(state.descriptor_of(segment), memory.size(), os::Access::read, memory.data());
  if (mapped.error == 0) return;
  throw SystemError({.call = mapped.call,
                     .number = mapped.error,
                     .path = state.path_of(segment),
                     .bytes = memory.size()},
                    "check vm.max_map_count and the limit of the address space (ulimit -v)");
}

void take_addresses(internal::WeightsState& state, const WeightsOptions& options) {
  std::vector<Way> ways;
  for (const WeightsFile& file : state.files) ways.push_back(file.way);
  const HugePages huge_pages = huge_pages_for(state, options);
  internal::Placement placement = internal::place_files(state.directory, ways, os::huge_page_size(),
                                                        huge_pages == HugePages::explicit_pages);
  state.segments = std::move(placement.segments);
  state.range = Block::reserve(
      std::max<std::uint64_t>(placement.bytes, os::page_size()),
      {.huge_pages = huge_pages,
       .overcommit = true,  // only a job touches this memory, and it claims what is missing
       .core_dump = options.core_dump,
       .numa = options.numa});
  state.number_chunks();
  for (std::size_t file = 0; file < ways.size(); ++file) {
    const internal::Placement::Share& share = placement.shares[file];
    if (share.bytes == 0) continue;
    if (ways[file] == Way::map) {
      map_whole(state, state.segments_of(file).front());
      const int descriptor = state.open_files[file].buffered.get();
      state.open_files[file].in_huge_page_pool = os::huge_page_of(descriptor) != 0;
      continue;
    }
    Block& part = state.parts.emplace_back(state.range.part(share.at, share.bytes));
    part.commit(share.bytes);
    state.open_files[file].in_huge_page_pool = part.page_size() != os::page_size();
    add_unmet(state.unmet, part.unmet());
  }
  state.keep_pages();
}

std::unique_ptr<internal::WeightsState> open_state(TensorDirectory directory,
                                                   const std::string& path,
                                                   const WeightsOptions& options) {
  if (directory.empty()) {
    throw InvalidArgument({.argument = "path"}, "the model " + path + " has no tensors",
                          "give the path of the files that contain the weights");
  }
  if (options.way == Way::shared) {
    throw InvalidArgument({.argument = "WeightsOptions::way"},
                          "files cannot be opened as shared weights",
                          "use WeightsBuilder or Weights::receive");
  }
  auto state = std::make_unique<internal::WeightsState>();
  state->directory = std::move(directory);
  Opener(*state, options).open_all();
  take_addresses(*state, options);
  return state;
}

// Locks all segments, or none of them. Returns errno, or 0.
int lock_all(const internal::WeightsState& state) {
  for (std::size_t i = 0; i != state.segments.size(); ++i) {
    const std::span<std::byte> pages = state.pages_of(state.segments[i]);
    const int error = os::lock(pages.data(), pages.size());
    if (error == 0) continue;
    for (const internal::WeightsSegment& locked : std::span(state.segments).first(i)) {
      const std::span<std::byte> back = state.pages_of(locked);
      static_cast<void>(os::unlock(back.data(), back.size()));
    }
    return error;
  }
  return 0;
}

}  // namespace

const char* to_string(Way way) noexcept {
  constexpr std::array names = {"automatic", "map", "read", "direct", "shared"};
  return names[static_cast<std::size_t>(way)];
}

Weights::Weights(std::unique_ptr<internal::WeightsState> state) noexcept
    : state_(std::move(state)) {}
internal::WeightsState& Weights::opened() const {
  if (state_ == nullptr) {
    throw WrongState("weights", ObjectState::empty, "these weights were moved from",
                     "use the object that they were moved to");
  }
  return *state_;
}

Weights::Weights(Weights&&) noexcept = default;
Weights& Weights::operator=(Weights&&) noexcept = default;
Weights::~Weights() = default;

Weights Weights::open(const std::filesystem::path& path, const WeightsOptions& options) {
  return Weights(open_state(std::move(read_model(path).tensors), path.string(), options));
}

Weights Weights::open(const Model& model, const WeightsOptions& options) {
  return Weights(open_state(model.tensors, model.path.string(), options));
}

const TensorDirectory& Weights::tensors() const { return opened().directory; }
std::size_t Weights::size() const { return opened().directory.entries().size(); }
TensorView Weights::operator[](std::size_t index) const { return opened().view(index); }

std::optional<TensorView> Weights::find(std::string_view name) const {
  const TensorEntry* entry = opened().directory.find(name);
  if (entry == nullptr) return std::nullopt;
  return opened().view(static_cast<std::size_t>(entry - opened().directory.entries().data()));
}

TensorView Weights::at(std::string_view name) const {
  if (const auto view = find(name)) return *view;
  throw InvalidArgument({.argument = "name"}, "the model has no tensor " + std::string(name));
}

std::span<const WeightsFile> Weights::files() const { return opened().files; }
std::span<const std::byte> Weights::range() const {
  return {opened().range.data(), opened().range.size()};
}
std::optional<WeightsOwner::Tensor> Weights::tensor(std::string_view name) const {
  const std::optional<TensorView> view = find(name);
  if (!view) return std::nullopt;
  return Tensor{.dtype = view->dtype, .bytes = view->bytes};
}
const std::vector<Unmet>& Weights::unmet() const { return opened().unmet; }

std::vector<std::span<const std::byte>> Weights::all_bytes() const {
  std::vector<std::span<const std::byte>> all;
  all.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) {
    if (!readable(i)) {
      throw WrongState("weights", ObjectState::not_resident,
                       "tensor " + std::string(tensors().entries()[i].name) +
                           " is not in memory yet and would be read as zeros",
                       "warm the weights first");
    }
    all.push_back(opened().view(i).bytes);
  }
  return all;
}

bool Weights::readable(std::size_t tensor) const {
  const Way way = opened().files[opened().directory.entries()[tensor].file].way;
  return way == Way::map || way == Way::shared || opened().all_ready(tensor);
}

bool Weights::warmed(std::size_t tensor) const { return opened().all_ready(tensor); }

WarmJob Weights::start_warm(WarmOptions options, const std::vector<std::uint32_t>& order) {
  return WarmJob(opened(), std::move(options), order);
}

WarmResult Weights::warm(WarmOptions options, const std::vector<std::uint32_t>& order) {
  return start_warm(std::move(options), order).wait();
}

bool Weights::lock() {
  internal::WeightsState& state = opened();
  internal::forget_unmet(state.unmet, Wish::lock);
  std::uint64_t bytes = 0;
  for (const internal::WeightsSegment& segment : state.segments) {
    bytes += state.pages_of(segment).size();
  }
  // A lock brings in what is missing, and over a memory cgroup's limit the kernel kills.
  std::uint64_t missing = 0;
  for (std::size_t number = 0; number != state.chunks(); ++number) {
    const internal::WeightsChunk chunk = state.chunk(number);
    // Where the kernel does not report what is missing, it may be nothing.
    if (!internal::most_missing_bytes(state, chunk)) continue;
    missing += internal::missing_bytes(state, chunk);
  }
  os::ResidentLedger::Filling filling;
  const std::optional<os::Budget> refused = filling.begin(missing);
  if (const int error = refused ? ENOMEM : lock_all(state); error != 0) {
    internal::note_unmet_lock(state.unmet, error, bytes, refused);
    return false;
  }
  state.locked = true;
  state.kept = {};  // the kernel drops no locked pages, and counts them as used
  return true;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
