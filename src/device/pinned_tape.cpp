// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/pinned_tape.hpp"

#include <span>
#include <utility>

#include "base/on_failure.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

Tape start_pinned(Device& device, std::size_t bytes, TapeOptions options) {
  if (options.commit_step != 0) {
    throw InvalidArgument(
        {.argument = "TapeOptions::commit_step", .value = options.commit_step, .limit = 0},
        "tape " + options.name + " is pinned as a whole and cannot grow in steps",
        "leave commit_step at 0");
  }
  auto also_on_commit = std::move(options.block.on_commit);
  auto also_on_decommit = std::move(options.block.on_decommit);
  options.block.on_commit = [&device, also_on_commit](std::span<std::byte> range) {
    device.pin(range);
    internal::OnFailure undo([&] { device.unpin(range.data()); });
    if (also_on_commit) also_on_commit(range);
    undo.completed();
  };
  options.block.on_decommit = [&device, also_on_decommit](std::span<std::byte> range) {
    if (also_on_decommit) also_on_decommit(range);
    device.unpin(range.data());
  };
  return Tape::start(bytes, std::move(options));
}

}  // namespace tapedeck::inline TAPEDECK_ABI
