/// @file
/// What a Llama model is made of: its figures.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

using TokenId = std::uint32_t;

/// The figures of a model; the first ones in the order of a llama2.c checkpoint's header.
struct Shape {
  std::size_t dim = 0;
  std::size_t ffn = 0;
  std::size_t layers = 0;
  std::size_t heads = 0;
  std::size_t kv_heads = 0;
  std::size_t vocab = 0;
  std::size_t seq_len = 0;      ///< Tokens of a talk that it was made for.
  bool own_classifier = false;  ///< Otherwise the embedding table is the classifier too.

  // What llama2.c has no figures for.
  std::size_t key_size = 0;    ///< Of a head of Q and K; 0: dim / heads.
  std::size_t value_size = 0;  ///< Of a head of V; 0: dim / heads.
  float norm_epsilon = 1e-5F;
  bool longer_talks = false;  ///< Talks may be longer than `seq_len`, where that is asked for.

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
