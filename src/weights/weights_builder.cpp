// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/weights_builder.hpp"

#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "memory/unmet.hpp"
#include "os/file.hpp"
#include "os/huge_pages.hpp"
#include "os/memory_file.hpp"
#include "os/socket.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "weights/shared_image.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

constexpr std::size_t kLongestName = 200;  // the kernel accepts up to 249 bytes

}  // namespace

struct WeightsBuilder::State {
  internal::SharedImage image;
  os::Descriptor file;
  Block block;  // `file`, mapped for writing
  std::vector<Unmet> unmet;
  HugePages pages = HugePages::transparent;

  /// Moves what was written into huge pages, where the kernel did not use them at the first touch.
  void use_huge_pages();
  /// Creates `file`, which can be sealed, and `block`.
  void map_new_file(const std::string& name, std::size_t huge_page, HugePages huge_pages);
};

void WeightsBuilder::State::map_new_file(const std::string& name, std::size_t huge_page,
                                         HugePages huge_pages) {
  const auto whole = checked_round_up(image.bytes, huge_page == 0 ? os::page_size() : huge_page);
  if (!whole) {
    throw InvalidArgument(
        {.argument = "tensors"},
        "the tensors have more bytes than a process can address (" + to_iec(image.bytes) + ")");
  }
  os::Opened made =
      os::create_memory_file(name.substr(0, kLongestName).c_str(), *whole, huge_page, true);
  if (made.error != 0) {
    throw SystemError({.call = made.call,
                       .number = made.error,
                       .bytes = *whole,
                       .object = internal::kSharedWeights});
  }
  block = Block::open_shared(made.descriptor.get(), true,
                             {.huge_pages = huge_pages, .name = internal::kSharedWeights});
  file = std::move(made.descriptor);
}

void WeightsBuilder::State::use_huge_pages() {
  if (pages != HugePages::transparent || block.size() == 0) return;
  const int error = os::make_huge(block.data(), block.size()).value_or(0);
  if (error == 0) return;
  internal::note_unmet(unmet, Wish::huge_pages, error,
                       "the kernel could not move all of the weights into huge pages");
}

WeightsBuilder::WeightsBuilder(const std::vector<TensorSpec>& tensors,
                               const WeightsBuilderOptions& options)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.image = internal::plan_shared_image(options.name, tensors);
  HugePages& pages = state.pages;
  pages = options.huge_pages;
  if (pages == HugePages::explicit_pages) {
    try {
      state.map_new_file(options.name, os::huge_page_size(), pages);
    } catch (const SystemError& error) {  // the host's pool is too small or missing
      pages = HugePages::transparent;
      internal::note_unmet_huge_pages(state.unmet, error.number());
    }
  }
  if (!state.file) state.map_new_file(options.name, 0, pages);
  std::memcpy(state.block.data(), state.image.header.data(), state.image.header.size());
}

WeightsBuilder::WeightsBuilder(WeightsBuilder&&) noexcept = default;
WeightsBuilder& WeightsBuilder::operator=(WeightsBuilder&&) noexcept = default;
WeightsBuilder::~WeightsBuilder() = default;

std::span<std::byte> WeightsBuilder::bytes(std::size_t tensor) noexcept {
  const internal::SharedImage& image = state_->image;
  assert(tensor < image.offsets.size());
  return {state_->block.data() + image.offsets[tensor],
          static_cast<std::size_t>(image.sizes[tensor])};
}

Weights WeightsBuilder::seal() && {
  State& state = *state_;
  state.use_huge_pages();
  state.block = {};  // the kernel does not seal memory that is mapped for writing
  const int file = state.file.get();
  int error = os::seal(file);
  // It is already sealed if an earlier call sealed it and `adopt` then failed.
  if (error == EPERM && os::check_sealed(file) == 0) error = 0;
  if (error != 0) {
    throw SystemError({.call = "fcntl", .number = error, .object = internal::kSharedWeights},
                      "a child process may still have the memory mapped");
  }
  Weights weights = Weights::adopt(file);
  weights.state_->unmet = std::move(state.unmet);
  state_.reset();
  return weights;
}

Weights Weights::adopt(int descriptor) {
  const int error = os::check_sealed(descriptor);
  if (error == EINVAL) {
    throw FormatError({.path = internal::kSharedWeights, .fault = FormatFault::not_this_format},
                      "the memory is not sealed",
                      "its creator could still change or shrink it; use memory that a "
                      "WeightsBuilder sealed");
  }
  if (error != 0) {
    throw SystemError({.call = "fcntl", .number = error, .object = internal::kSharedWeights});
  }
  const os::FileFacts facts = os::facts(descriptor);
  if (facts.error != 0) {
    throw SystemError({.call = "fstat", .number = facts.error, .object = internal::kSharedWeights});
  }
  if (facts.bytes == 0) {
    throw FormatError({.path = internal::kSharedWeights, .fault = FormatFault::cut_off},
                      "the memory is empty");
  }
  auto state = std::make_unique<internal::WeightsState>();
  state->range = Block::open_shared(descriptor, false);
  state->directory = internal::read_shared_image({state->range.data(), state->range.size()});
  const TensorFile& file = state->directory.files().front();
  state->files.push_back({.path = file.path,
                          .bytes = file.size,
                          .way = Way::shared,
                          .why = "sealed by a WeightsBuilder"});
  state->open_files.emplace_back();
  state->segments.push_back({.file = 0, .way = Way::shared, .begin = 0, .bytes = file.size});
  state->number_chunks();
  return Weights(std::move(state));
}

Weights Weights::receive(int socket) {
  const os::Opened received = os::receive_descriptor(socket);
  if (received.error == EBADMSG) {
    throw FormatError({.path = internal::kSharedWeights, .fault = FormatFault::missing},
                      "the socket did not deliver exactly one descriptor",
                      "send the weights with Weights::send");
  }
  if (received.error != 0) {
    throw SystemError(
        {.call = received.call, .number = received.error, .object = internal::kSharedWeights});
  }
  return adopt(received.descriptor.get());
}

void Weights::send(int socket) const {
  if (descriptor() < 0) {
    throw InvalidArgument({.argument = "Weights"},
                          "only sealed weights can be sent, but these are from files",
                          "map the same files in the other process: both then share one copy");
  }
  if (const int error = os::send_descriptor(socket, descriptor()); error != 0) {
    throw SystemError({.call = "sendmsg", .number = error, .object = internal::kSharedWeights});
  }
}

int Weights::descriptor() const { return opened().range.descriptor(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
