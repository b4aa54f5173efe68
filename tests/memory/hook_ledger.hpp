// SPDX-License-Identifier: Apache-2.0
/// @file
/// Records what a block announces to `on_commit` and `on_decommit`, as an engine would that
/// registers memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "tapedeck/memory/block_options.hpp"

namespace tapedeck::tests {

/// Checks that every byte is announced exactly once before it is withdrawn, and is accessible in
/// between. Must outlive its blocks.
class HookLedger {
 public:
  /// The given options, with hooks that write to this ledger.
  [[nodiscard]] BlockOptions with(BlockOptions options = {}) {
    options.on_commit = [this](std::span<std::byte> range) { commit(range); };
    options.on_decommit = [this](std::span<std::byte> range) { decommit(range); };
    return options;
  }

  /// Makes the next `on_commit` throw.
  void refuse_next() { refuse_ = true; }

  [[nodiscard]] std::size_t commits() const { return committed_.size(); }
  [[nodiscard]] std::size_t decommits() const { return decommitted_.size(); }
  /// The number of bytes that were announced and not yet withdrawn.
  [[nodiscard]] std::size_t open_bytes() const {
    std::size_t bytes = 0;
    for (const auto& [begin, end] : open_) bytes += static_cast<std::size_t>(end - begin);
    return bytes;
  }
  /// The mistakes so far, one per line.
  [[nodiscard]] const std::string& mistakes() const { return mistakes_; }
  /// The ranges as they were announced.
  [[nodiscard]] const std::vector<std::span<std::byte>>& committed() const { return committed_; }
  [[nodiscard]] const std::vector<std::span<std::byte>>& decommitted() const {
    return decommitted_;
  }

 private:
  void commit(std::span<std::byte> range) {
    if (refuse_) {
      refuse_ = false;
      throw std::runtime_error("the card takes no more memory");
    }
    committed_.push_back(range);
    if (range.empty()) mistakes_ += "an empty range was announced\n";
    if (overlap(range) != 0) mistakes_ += "a range was announced twice\n";
    touch(range);
    open_[range.data()] = range.data() + range.size();
  }

  void decommit(std::span<std::byte> range) {
    decommitted_.push_back(range);
    if (range.empty()) mistakes_ += "an empty range was withdrawn\n";
    if (overlap(range) != range.size())
      mistakes_ += "a range that was not announced was withdrawn\n";
    touch(range);
    remove(range.data(), range.data() + range.size());
  }

  // The range must be accessible. If it is not, the test crashes here.
  static void touch(std::span<std::byte> range) {
    if (range.empty()) return;
    static_cast<void>(*static_cast<const volatile std::byte*>(&range.front()));
    static_cast<void>(*static_cast<const volatile std::byte*>(&range.back()));
  }

  [[nodiscard]] std::size_t overlap(std::span<std::byte> range) const {
    std::size_t bytes = 0;
    for (const auto& [begin, end] : open_) {
      const std::byte* from = std::max<const std::byte*>(begin, range.data());
      const std::byte* to = std::min<const std::byte*>(end, range.data() + range.size());
      if (from < to) bytes += static_cast<std::size_t>(to - from);
    }
    return bytes;
  }

  void remove(std::byte* from, std::byte* to) {
    std::map<std::byte*, std::byte*> left;
    for (const auto& [begin, end] : open_) {
      if (begin < from) left[begin] = std::min(end, from);
      if (end > to) left[std::max(begin, to)] = end;
    }
    open_ = left;
  }

  std::map<std::byte*, std::byte*> open_;
  std::vector<std::span<std::byte>> committed_;
  std::vector<std::span<std::byte>> decommitted_;
  std::string mistakes_;
  bool refuse_ = false;
};

}  // namespace tapedeck::tests
