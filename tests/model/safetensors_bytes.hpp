// SPDX-License-Identifier: Apache-2.0
/// @file
/// safetensors files written by hand, valid or not.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace tapedeck::tests {

/// The header's length, the header, and the given number of data bytes.
[[nodiscard]] inline std::string safetensors(const std::string& header, std::size_t data = 0) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + std::string(data, '\0');
}

/// "name":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}
[[nodiscard]] inline std::string tensor_json(const std::string& name, const std::string& dtype,
                                             const std::string& shape, std::uint64_t begin,
                                             std::uint64_t end) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":[)" + shape +
         R"(],"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

}  // namespace tapedeck::tests
