/// @file
/// What holds for whatever was read, however strange the file.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "tapedeck/model/model.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::fuzz {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline void check(const TensorDirectory& tensors) {
  for (const TensorEntry& tensor : tensors.entries()) {
    const TensorFile& file = tensors.files()[tensor.file];
    require(tensors.find(tensor.name) == &tensor);
    require(bytes_of(tensor.dtype, tensor.elements()) == tensor.bytes);
    require(tensor.offset >= file.data_begin && tensor.bytes <= file.data_end - tensor.offset);
  }
  for (const TensorFile& file : tensors.files()) require(file.data_begin <= file.data_end);
}

inline void check(const Model& model) {
  check(model.tensors);
  for (const Metadata::Entry& entry : model.metadata.entries()) {
    require(model.metadata.find(entry.key) == &entry);
  }
  static_cast<void>(model.shape.parameter_count());
}

}  // namespace tapedeck::fuzz
