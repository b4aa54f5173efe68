/// @file
/// Reads the checkpoints of llama2.c ("version 0": seven int32 and float32 arrays, little-endian).
#pragma once

#include <filesystem>

#include "engine/input_file.hpp"
#include "engine/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

/// A checkpoint whose header agrees with the size of its file, to the byte. Opening allocates
/// nothing that the header claims. Thread-safety: immutable.
class Checkpoint {
 public:
  /// @throws SystemError; InvalidArgument if it is no regular file; FormatError.
  explicit Checkpoint(const std::filesystem::path& path);

  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }

  /// Exactly what the weights, one pass, and a talk of `seq_len` tokens take.
  [[nodiscard]] const LayoutSizes& sizes() const noexcept { return sizes_; }

  /// Reads the arrays into takes of their own. @throws TapeFull, SystemError; FormatError if the
  /// file became shorter.
  [[nodiscard]] Weights load(Tape& tape) const;

 private:
  InputFile file_;
  Shape shape_;
  LayoutSizes sizes_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
