// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Shape`: the hyperparameters of a Llama model.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

using TokenId = std::uint32_t;

/// The hyperparameters of a model. The first seven are in the order of a llama2.c checkpoint's
/// header.
struct Shape {
  std::size_t dim = 0;
  std::size_t ffn = 0;
  std::size_t layers = 0;
  std::size_t heads = 0;
  std::size_t kv_heads = 0;
  std::size_t vocab = 0;
  std::size_t seq_len = 0;      ///< The longest talk that the model was trained for, in tokens.
  bool own_classifier = false;  ///< Otherwise the embedding table is also the classifier.

  // A llama2.c header does not store the rest.
  std::size_t key_size = 0;    ///< Size of a Q or K head; 0 means dim / heads.
  std::size_t value_size = 0;  ///< Size of a V head; 0 means dim / heads.
  float norm_epsilon = 1e-5F;
  bool longer_talks = false;  ///< The caller may request talks longer than `seq_len`.

  [[nodiscard]] std::size_t key_head() const noexcept {
    return key_size == 0 ? dim / heads : key_size;
  }
  [[nodiscard]] std::size_t value_head() const noexcept {
    return value_size == 0 ? dim / heads : value_size;
  }
  [[nodiscard]] std::size_t query_dim() const noexcept { return heads * key_head(); }
  [[nodiscard]] std::size_t mixed_dim() const noexcept { return heads * value_head(); }
  [[nodiscard]] std::size_t key_dim() const noexcept { return kv_heads * key_head(); }
  [[nodiscard]] std::size_t value_dim() const noexcept { return kv_heads * value_head(); }
};

}  // namespace tapedeck::llama
