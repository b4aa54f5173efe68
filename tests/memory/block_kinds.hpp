// SPDX-License-Identifier: Apache-2.0
/// @file
/// The kinds of block that can reserve and commit, for suites that run on both.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <ostream>
#include <string>

#include "memory/pattern.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {

struct BlockMaker {
  const char* name;
  Block (*make)(std::size_t, const BlockOptions&);
  BlockKind kind;

  friend void PrintTo(const BlockMaker& maker, std::ostream* out) { *out << maker.name; }
};

inline const auto kBlockKinds =
    ::testing::Values(BlockMaker{"Anonymous", Block::reserve, BlockKind::anonymous},
                      BlockMaker{"Shared", Block::create_shared, BlockKind::shared});

[[nodiscard]] inline std::string name_of_kind(const ::testing::TestParamInfo<BlockMaker>& kind) {
  return kind.param.name;
}

class BlockKinds : public ::testing::TestWithParam<BlockMaker> {
 protected:
  [[nodiscard]] static Block make(std::size_t bytes, const BlockOptions& options) {
    return GetParam().make(bytes, options);
  }
  /// Commits all of it, and fills it with a pattern.
  [[nodiscard]] static Block make_written(std::size_t bytes, const BlockOptions& options) {
    Block block = make(bytes, options);
    block.commit(bytes);
    Pattern(1).write(block.data(), bytes);
    return block;
  }
  [[nodiscard]] static bool anonymous() { return GetParam().kind == BlockKind::anonymous; }
};

}  // namespace tapedeck::tests
