// SPDX-License-Identifier: Apache-2.0
/// @file
/// Shared by the fuzzers of readers: their input as a file, and what must hold for every file that
/// was read successfully.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "fuzz/memory_file.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/model/tensor_directory.hpp"

// libFuzzer expects this name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

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

/// Calls `read` with the path of a file that contains the input. `read` may refuse the file with an
/// `Error`.
int read_input(const std::uint8_t* data, std::size_t bytes, auto read) {
  static const MemoryFile input;
  try {
    read(input.hold(data, bytes));
  } catch (const Error&) {
    // Refused, which is allowed.
  }
  return 0;
}

}  // namespace tapedeck::fuzz
