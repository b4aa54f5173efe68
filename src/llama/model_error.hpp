// SPDX-License-Identifier: Apache-2.0
/// @file
/// Errors about a model's file that cannot be decoded because of one of its keys or tensors.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::llama {

inline constexpr const char* kConvertAgain = "convert the model again";
inline constexpr const char* kOnlyDenseLlama = "this decoder runs only dense Llama models";

/// @param message  continues the sentence after the key: " is 0".
[[noreturn]] inline void throw_key_error(const Model& model, const std::string& key,
                                         FormatFault fault, const std::string& message,
                                         const char* advice = kConvertAgain) {
  // The keys of a split model are in its first file.
  const auto files = model.tensors.files();
  const Metadata::Entry* const entry = model.metadata.find(key);
  throw FormatError({.path = (files.empty() ? model.path : files.front().path).string(),
                     .offset = entry == nullptr ? 0 : entry->offset,
                     .field = key,
                     .fault = fault},
                    key + message, advice);
}

/// Returns a word from an untrusted file in a form that is safe to print in a message.
[[nodiscard]] inline std::string quoted(std::string_view word) {
  constexpr std::size_t longest = 64;
  const bool harmless = word.size() <= longest && std::all_of(word.begin(), word.end(), [](char c) {
                          return std::isgraph(static_cast<unsigned char>(c)) != 0;
                        });
  return harmless ? std::string(word) : "unreadable";
}

}  // namespace tapedeck::llama
