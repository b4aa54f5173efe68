// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <tuple>
#include <variant>

#include "base/printable.hpp"
#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "model/layers.hpp"
#include "model/unused_fields.hpp"

namespace tapedeck::internal {
namespace {

// A dimension of the embedding table; 0 if the file has none.
std::uint64_t embedding_dimension(const TensorDirectory& tensors, std::size_t dimension) {
  const TensorEntry* const table = tensors.find("token_embd.weight");
  return table != nullptr && table->rank == 2 ? table->dimensions[dimension] : 0;
}

std::uint64_t vocabulary_of(const Figures& figures, const Metadata& metadata,
                            const TensorDirectory& tensors) {
  if (const auto stated = figures.find(Figure::vocabulary)) return *stated;
  if (const Metadata::Entry* const tokens = metadata.find("tokenizer.ggml.tokens")) {
    if (const auto* many = std::get_if<Metadata::Omitted>(&tokens->value)) {
      if (many->count <= Figures::kLargest) return many->count;
      figures.throw_figure_error(*tokens, FormatFault::out_of_range,
                                 "has more tokens than any vocabulary");
    }
    if (const auto* few = std::get_if<std::vector<std::string>>(&tokens->value)) {
      return few->size();
    }
  }
  return std::min(embedding_dimension(tensors, 0), Figures::kLargest);
}

// The number of layers without those that only draft tokens, which come last and have no cache.
std::uint64_t main_layers(const Figures& figures) {
  const std::uint64_t all = figures.get(Figure::layers, 0);
  const std::uint64_t drafts = figures.get(Figure::draft_layers, 0);
  if (drafts != 0 && drafts >= all) {
    figures.throw_figure_error(Figure::draft_layers, FormatFault::contradictory,
                               "leaves no other layers");
  }
  return all - drafts;
}

// Files that have only a vocabulary, or that are made for other programs, have no layers to plan.
bool says_enough(const Figures& figures, ModelShape& shape) {
  if (!figures.find(Figure::layers)) return false;
  const bool attends = figures.architecture().state.in != States::all;
  for (const auto& [figure, key, needed] :
       {std::tuple(Figure::hidden, "embedding_length", true),
        std::tuple(Figure::heads, "attention.head_count", attends)}) {
    if (!needed || figures.find(figure)) continue;
    shape.warnings.push_back(printable(shape.architecture) + "." + key +
                             " is missing, so the layers cannot be planned");
    return false;
  }
  return true;
}

}  // namespace

ModelShape gguf_shape(const std::string& path, const Metadata& metadata,
                      const TensorDirectory& tensors) {
  ModelShape shape;
  shape.architecture = metadata.string("general.architecture").value_or("");
  shape.name = metadata.string("general.name").value_or("");
  const std::string scope = shape.architecture.empty() ? "" : shape.architecture + ".";
  const Architecture& known = find_architecture(Dialect::gguf, shape.architecture);
  Figures figures(path, metadata, Dialect::gguf, {scope}, known);
  figures.add_default({Figure::hidden, embedding_dimension(tensors, 1)});

  shape.vocabulary = vocabulary_of(figures, metadata, tensors);
  shape.tied = tensors.find("token_embd.weight") == nullptr
                   ? known.has(kTied)
                   : tensors.find("output.weight") == nullptr;
  if (!says_enough(figures, shape)) return shape;
  shape.draft_layers = figures.get(Figure::draft_layers, 0);
  shape.exact_weights = shape.exact_caches = true;
  make_layers(figures, tensors, main_layers(figures), shape);
  note_unused_fields(figures, kCacheSizes, true, shape);
  return shape;
}

}  // namespace tapedeck::internal
