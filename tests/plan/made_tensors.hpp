// SPDX-License-Identifier: Apache-2.0
/// @file
/// Tensors composed by hand, with sizes and places, and how `plan_streaming` refuses them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "model/llama2c/llama2c.hpp"
#include "model/tensor_directory_builder.hpp"
#include "model/tensor_names.hpp"
#include "plan/refused.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::tests {

/// Composes a model, tensor by tensor.
class Made {
 public:
  explicit Made(std::size_t layers = 0, std::uint64_t experts = 0, std::uint64_t used = 0) {
    shape_.layers.resize(layers);
    for (LayerShape& layer : shape_.layers) {
      layer.experts = experts;
      layer.experts_used = used;
    }
    file();
  }

  /// Tensors that are added from now on are in another file.
  Made& file() {
    builder_.begin_file({.path = "made", .size = kMost});
    return *this;
  }
  Made& tensor(const std::string& name, std::uint64_t offset,
               const std::vector<std::uint64_t>& dimensions) {
    TensorEntry entry{
        .name = name, .dtype = DType::u8, .offset = offset, .bytes = 1, .id = id_of(name)};
    for (const std::uint64_t dimension : dimensions) {
      entry.dimensions[entry.rank++] = dimension;
      entry.bytes *= dimension;
    }
    builder_.add(entry, 0);
    return *this;
  }
  [[nodiscard]] Model model(ModelFormat format = ModelFormat::gguf) {
    Model out;
    out.format = format;
    out.shape = shape_;
    out.tensors = std::move(builder_).finish();
    return out;
  }

 private:
  static PartId id_of(const std::string& name) {
    for (const Parameter& array : internal::llama2c_arrays({.heads = 1, .own_classifier = true})) {
      if (array.name == name) return array.id;
    }
    return internal::part_id_of(name);
  }

  ModelShape shape_;
  internal::TensorDirectoryBuilder builder_;
};

[[nodiscard]] inline Refused refused_streaming(const Model& model,
                                               const StreamingOptions& options = {}) {
  return refused([&] { return plan_streaming(model, options); });
}

}  // namespace tapedeck::tests
