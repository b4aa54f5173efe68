/// @file
/// A directory's types as the indexes of the shared data write them.
#pragma once

#include <cctype>
#include <map>
#include <string>

#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::tests {

/// "F32:65 Q4_0:225", sorted by name.
[[nodiscard]] inline std::string types_of(const TensorDirectory& tensors) {
  std::map<std::string, int> counts;
  for (const TensorEntry& tensor : tensors.entries()) {
    std::string name(to_string(tensor.dtype));
    for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    ++counts[name];
  }
  std::string text;
  for (const auto& [name, count] : counts) {
    text += (text.empty() ? "" : " ") + name + ":" + std::to_string(count);
  }
  return text;
}

}  // namespace tapedeck::tests
