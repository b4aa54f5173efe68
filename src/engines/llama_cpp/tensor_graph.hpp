/// @file
/// `TensorGraph`: tensors that are computed one from another, and what an allocator in the manner
/// of ggml's makes of them. No tensor has data; all have sizes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/checked_sizes.hpp"

namespace tapedeck::internal {

/// Records tensors, orders them as ggml orders a graph (each behind its sources, when `expand`
/// first meets it), and plays ggml's graph allocator over that order: a tensor is placed when it is
/// computed, in the best fitting hole, and given back after its last use; some operations take over
/// the memory of a source that nothing else needs. One graph, one thread. Whatever makes a tensor
/// throws InvalidArgument for a size that does not fit in 64 bits.
///
/// Source of the rules: ggml-alloc.c, `ggml_build_forward_expand` of ggml.c.
class TensorGraph {
 public:
  using Tensor = std::uint32_t;

  struct Footprint {
    std::uint64_t bytes = 0;   ///< What the allocator ends up with.
    std::uint64_t live = 0;    ///< The largest sum of tensors alive at a time.
    std::string_view stage{};  ///< Where `bytes` was reached.
  };

  /// Of what is made from here on; kept by reference.
  void set_stage(std::string_view stage) noexcept { stage_ = stage; }

  /// What is written before anything is computed: it has memory from the start.
  Tensor input(const CheckedSize& bytes) { return append_node(Kind::input, bytes, {}); }
  /// A tensor with memory of its own.
  Tensor op(const CheckedSize& bytes, std::initializer_list<Tensor> sources) {
    return append_node(Kind::op, bytes, sources);
  }
  /// Likewise, unless it can take over a source's memory: of the same size, needed no more, and no
  /// view (through which the engine's build never does, as its figures show).
  Tensor in_place(const CheckedSize& bytes, std::initializer_list<Tensor> sources) {
    return append_node(Kind::in_place, bytes, sources);
  }
  /// The same memory under another shape.
  Tensor view(Tensor of) { return view(of, bytes(of)); }
  /// Elements that lie in another tensor's memory, side by side or not.
  Tensor view(Tensor of, const CheckedSize& bytes);
  /// Writes into memory that is not the graph's (a cache).
  Tensor store(std::initializer_list<Tensor> sources) {
    return append_node(Kind::store, 0, sources);
  }

  /// No other tensor takes over its memory: it is read after all is computed.
  void keep(Tensor tensor) { nodes_[tensor].kept = true; }
  /// Computes a tensor, and before it what it needs, now.
  void expand(Tensor tensor);

  [[nodiscard]] std::uint64_t bytes(Tensor tensor) const { return nodes_[tensor].bytes; }

  /// Plays the allocator over what was expanded. @pre not called before.
  /// @throws InvalidArgument if the sizes do not fit in 64 bits.
  [[nodiscard]] Footprint allocate();

 private:
  enum class Kind : std::uint8_t { input, op, in_place, view, store };

  struct Node {
    std::uint64_t bytes = 0;
    std::uint64_t offset = 0;
    std::string_view stage{};
    std::vector<Tensor> sources{};
    std::uint32_t readers = 0;  ///< That are not yet computed, as are the views.
    std::uint32_t views = 0;
    Tensor viewed = 0;  ///< Whose memory a view shows.
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
  std::vector<Tensor> inputs_;  ///< In the order in which they are met; so the next.
  std::vector<Tensor> order_;
};

}  // namespace tapedeck::internal
