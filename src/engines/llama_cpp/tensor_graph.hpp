// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TensorGraph`: tensors that are computed from one another, and the memory that an allocator like
/// ggml's needs for them. Tensors have sizes but no data.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/checked_sizes.hpp"

namespace tapedeck::internal {

/// Records tensors, orders them as ggml orders a graph (each after its sources, when `expand` first
/// reaches it), and simulates ggml's graph allocator for that order. A tensor is placed in the best
/// fitting hole when it is computed, and freed after its last use. Some operations reuse the memory
/// of a source that nothing else needs. Functions that create a tensor throw InvalidArgument for a
/// size that does not fit in 64 bits. Thread-safety: a graph is used by one thread.
///
/// Source of the rules: ggml-alloc.c, `ggml_build_forward_expand` of ggml.c.
class TensorGraph {
 public:
  using Tensor = std::uint32_t;

  struct Footprint {
    std::uint64_t bytes = 0;   ///< Size of the allocator's buffer.
    std::uint64_t live = 0;    ///< Largest sum of the tensors that are live at the same time.
    std::string_view stage{};  ///< The stage at which `bytes` was reached.
  };

  /// Sets the stage of the next tensors. Not copied.
  void set_stage(std::string_view stage) noexcept { stage_ = stage; }

  /// A tensor that is written before anything is computed, so it has memory from the start.
  Tensor input(const CheckedSize& bytes) { return append_node(Kind::input, bytes, {}); }
  /// A tensor with memory of its own.
  Tensor op(const CheckedSize& bytes, std::initializer_list<Tensor> sources) {
    return append_node(Kind::op, bytes, sources);
  }
  /// A tensor that reuses the memory of a source that has the same size, is not needed any more,
  /// and is not a view (the sizes that the engine prints show that it never reuses memory through
  /// views). Otherwise it has memory of its own.
  Tensor in_place(const CheckedSize& bytes, std::initializer_list<Tensor> sources) {
    return append_node(Kind::in_place, bytes, sources);
  }
  /// A tensor with another shape in the same memory.
  Tensor view(Tensor of) { return view(of, bytes(of)); }
  /// A tensor whose elements are in another tensor's memory, contiguous or not.
  Tensor view(Tensor of, const CheckedSize& bytes);
  /// An operation that writes into memory outside the graph, such as a cache.
  Tensor store(std::initializer_list<Tensor> sources) {
    return append_node(Kind::store, 0, sources);
  }

  /// Excludes the tensor's memory from reuse, because it is read after the whole graph.
  void keep(Tensor tensor) { nodes_[tensor].kept = true; }
  /// Appends a tensor, after its sources, to the order of computation.
  void expand(Tensor tensor);

  [[nodiscard]] std::uint64_t bytes(Tensor tensor) const { return nodes_[tensor].bytes; }

  /// Simulates the allocator for the tensors that were expanded. @pre not called before.
  /// @throws InvalidArgument if the sizes do not fit in 64 bits.
  [[nodiscard]] Footprint allocate();

 private:
  enum class Kind : std::uint8_t { input, op, in_place, view, store };

  struct Node {
    std::uint64_t bytes = 0;
    std::uint64_t offset = 0;
    std::string_view stage{};
    std::vector<Tensor> sources{};
    std::uint32_t readers = 0;  ///< Number of readers that are not yet computed.
    std::uint32_t views = 0;    ///< Number of views that are still needed.
    Tensor viewed = 0;          ///< The tensor that owns a view's memory.
    Kind kind = Kind::op;
    bool kept = false;
    bool expanded = false;
    bool allocated = false;
  };

  class Memory;

  Tensor append_node(Kind kind, const CheckedSize& bytes, std::initializer_list<Tensor> sources);
  void count_uses();
  void place_tensor(Memory& memory, Tensor tensor);
  bool take_over(Node& node);
  void release_source(Memory& memory, Tensor source);

  std::string_view stage_;
  std::vector<Node> nodes_;
  std::vector<Tensor> inputs_;  ///< Expanded inputs, in order.
  std::vector<Tensor> order_;   ///< Other expanded tensors, in order.
};

}  // namespace tapedeck::internal
