// SPDX-License-Identifier: Apache-2.0
#include "engines/llama_cpp/tensor_graph.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "plan/sizes.hpp"

namespace tapedeck::internal {

/// An unlimited range of memory, from which the best fitting hole is allocated.
class TensorGraph::Memory {
 public:
  static constexpr std::uint64_t kAlignment = 64;

  std::uint64_t take(std::uint64_t bytes, std::string_view stage) {
    const std::uint64_t size = up_to_multiple(bytes, kAlignment);
    live_ = fits(CheckedSize(live_) + size);
    footprint_.live = std::max(footprint_.live, live_);

    const auto hole = best_hole(size);
    const std::uint64_t offset = hole->offset;
    const std::uint64_t end = fits(CheckedSize(offset) + size);
    hole->offset = end;
    hole->size -= size;
    if (hole->size == 0) holes_.erase(hole);
    if (end > footprint_.bytes) {
      footprint_.bytes = end;
      footprint_.stage = stage;
    }
    return offset;
  }

  /// @pre the range was taken.
  void give(std::uint64_t offset, std::uint64_t bytes) {
    const std::uint64_t size = up_to_multiple(bytes, kAlignment);
    if (size == 0) return;
    live_ -= size;
    auto hole = std::find_if(holes_.begin(), holes_.end(),
                             [&](const Hole& each) { return each.offset > offset; });
    if (hole != holes_.begin() && std::prev(hole)->end() == offset) {
      --hole;
      hole->size += size;
    } else {
      hole = holes_.insert(hole, {offset, size});
    }
    const auto after = std::next(hole);
    if (hole->end() != after->offset) return;
    hole->size += after->size;
    holes_.erase(after);
  }

  [[nodiscard]] const Footprint& footprint() const { return footprint_; }

 private:
  struct Hole {
    std::uint64_t offset;
    std::uint64_t size;
    [[nodiscard]] std::uint64_t end() const { return offset + size; }
  };

  // The smallest hole that fits; of several equal ones the last, as in ggml. The unlimited hole at
  // the end is used only if no other one fits.
  std::vector<Hole>::iterator best_hole(std::uint64_t size) {
    const auto last = std::prev(holes_.end());
    auto best = last;
    for (auto hole = holes_.begin(); hole != last; ++hole) {
      if (hole->size >= size && hole->size <= best->size) best = hole;
    }
    return best;
  }

  std::vector<Hole> holes_ = {{0, UINT64_MAX}};  // sorted by offset; the last one is unlimited
  std::uint64_t live_ = 0;
  Footprint footprint_;
};

TensorGraph::Tensor TensorGraph::append_node(Kind kind, const CheckedSize& bytes,
                                             std::initializer_list<Tensor> sources) {
  nodes_.push_back({.bytes = fits(bytes), .stage = stage_, .sources = sources, .kind = kind});
  return static_cast<Tensor>(nodes_.size() - 1);
}

TensorGraph::Tensor TensorGraph::view(Tensor of, const CheckedSize& bytes) {
  const Tensor viewed = nodes_[of].kind == Kind::view ? nodes_[of].viewed : of;
  const Tensor out = append_node(Kind::view, bytes, {of});
  nodes_[out].viewed = viewed;
  return out;
}

// Depth first, with an explicit stack: recursion over all layers could overflow the thread's stack.
void TensorGraph::expand(Tensor tensor) {
  struct Visit {
    Tensor tensor;
    std::size_t next = 0;
  };
  std::vector<Visit> path;
  const auto enter = [&](Tensor which) {
    if (std::exchange(nodes_[which].expanded, true)) return;
    path.push_back({which});
  };
  enter(tensor);
  while (!path.empty()) {
    Visit& top = path.back();
    const Node& node = nodes_[top.tensor];
    if (top.next < node.sources.size()) {
      enter(node.sources[top.next++]);
      continue;
    }
    (node.kind == Kind::input ? inputs_ : order_).push_back(top.tensor);
    path.pop_back();
  }
}

void TensorGraph::count_uses() {
  for (const Tensor tensor : order_) {
    const Node& node = nodes_[tensor];
    if (node.kind == Kind::view) ++nodes_[node.viewed].views;
    for (const Tensor source : node.sources) ++nodes_[source].readers;
  }
}

// Lets the node reuse the memory of one of its sources; false if that is not possible.
bool TensorGraph::take_over(Node& node) {
  for (const Tensor which : node.sources) {
    Node& source = nodes_[which];
    if (!source.allocated || source.kept || source.bytes != node.bytes) continue;
    if (source.readers != 1 || source.views != 0) continue;
    node.offset = source.offset;
    source.allocated = false;
    return true;
  }
  return false;
}

void TensorGraph::place_tensor(Memory& memory, Tensor tensor) {
  Node& node = nodes_[tensor];
  if (node.kind == Kind::view || node.kind == Kind::store) return;
  node.allocated = true;
  if (node.kind == Kind::in_place && take_over(node)) return;
  node.offset = memory.take(node.bytes, node.stage);
}

// After a source was read: frees it, or the owner of its memory, if that was the last use.
void TensorGraph::release_source(Memory& memory, Tensor source) {
  Node& node = nodes_[source];
  if (--node.readers != 0 || node.views != 0) return;
  Node& owner = node.kind == Kind::view ? nodes_[node.viewed] : node;
  if (node.kind == Kind::view && (--owner.views != 0 || owner.readers != 0)) return;
  if (!owner.allocated || owner.kept) return;
  owner.allocated = false;
  memory.give(owner.offset, owner.bytes);
}

TensorGraph::Footprint TensorGraph::allocate() {
  count_uses();
  Memory memory;
  for (const Tensor tensor : inputs_) place_tensor(memory, tensor);
  for (const Tensor tensor : order_) {
    place_tensor(memory, tensor);
    for (const Tensor source : nodes_[tensor].sources) release_source(memory, source);
  }
  return memory.footprint();
}

}  // namespace tapedeck::internal
