/// @file
/// A llama2.c checkpoint ("version 0"), as an engine uses a model: planned, then loaded.
#pragma once

#include <cstddef>
#include <filesystem>

#include "engine/input_file.hpp"
#include "engine/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

/// A checkpoint whose header agrees with the size of its file, to the byte. Opening allocates
/// nothing that the header claims. Thread-safety: immutable.
///
///     Checkpoint checkpoint("stories.bin");
///     Layout layout(checkpoint.plan(), checkpoint.options());
///     Weights weights = checkpoint.load(layout);
class Checkpoint {
 public:
  /// @throws SystemError; InvalidArgument if it is no regular file; FormatError.
  explicit Checkpoint(const std::filesystem::path& path);

  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }

  /// The arrays that are computed with, and K and V in f32 for each of `talks` of `positions`
  /// tokens; 0: of as many as the model takes, here and below. Nothing on scratch: what a pass
  /// computes in, it takes.
  /// @throws InvalidArgument where that is more than can be addressed.
  [[nodiscard]] Plan plan(std::size_t positions = 0, std::size_t talks = 1) const;

  /// With the room for those takes, in talks of so many positions.
  [[nodiscard]] LayoutOptions options(std::size_t positions = 0) const;
  /// What a pass takes at most. @throws InvalidArgument as `plan`.
  [[nodiscard]] std::size_t scratch_bytes(std::size_t positions = 0) const;

  /// Reads the arrays into their regions. @pre the layout is of `plan()`.
  /// @throws SystemError; FormatError if the file became shorter.
  [[nodiscard]] Weights load(Layout& layout) const;

 private:
  InputFile file_;
  Model model_;
  Shape shape_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
