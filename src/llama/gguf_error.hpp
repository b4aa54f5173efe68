/// @file
/// Refusing a GGUF file for what one of its keys says.
#pragma once

#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::llama {

/// Of a split model, the first part has the keys.
[[nodiscard]] inline std::string first_file(const Model& gguf) {
  return gguf.tensors.files().front().path.string();
}

/// @param message  goes on after the key: " is 0".
[[noreturn]] inline void refuse_key(const Model& gguf, std::string_view key,
                                    const std::string& message) {
  const Metadata::Entry* entry = gguf.metadata.find(key);
  throw FormatError(first_file(gguf), entry == nullptr ? 0 : entry->offset,
                    std::string(key) + message, "convert the model again");
}

}  // namespace tapedeck::llama
