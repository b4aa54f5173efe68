// SPDX-License-Identifier: Apache-2.0
/// @file
/// What tests check of a shape, and short functions to create one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "model/tensor_directory_builder.hpp"
#include "model/tensor_names.hpp"
#include "model/words.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::tests {

/// The number of layers of each kind, and the elements that one token or one sequence keeps in all
/// of them.
struct Summary {
  std::size_t full = 0;      ///< Full or latent attention.
  std::size_t windowed = 0;  ///< Windowed or chunked attention.
  std::size_t stateful = 0;
  std::size_t dense = 0;
  std::size_t experts = 0;
  std::uint64_t keys = 0;  ///< Of the full layers.
  std::uint64_t values = 0;
  std::uint64_t window_keys = 0;
  std::uint64_t window_values = 0;
  std::uint64_t convolution = 0;
  std::uint64_t state = 0;

  friend bool operator==(const Summary&, const Summary&) = default;
};

inline Summary summary_of(const ModelShape& shape) {
  Summary sum;
  for (const LayerShape& layer : shape.layers) {
    const std::uint64_t keys = layer.kv_heads * layer.key_dim;
    const std::uint64_t values = layer.kv_heads * layer.value_dim;
    if (layer.attention == Attention::full || layer.attention == Attention::latent) {
      ++sum.full;
      sum.keys += keys;
      sum.values += values;
    } else if (layer.attention != Attention::none) {
      ++sum.windowed;
      sum.window_keys += keys;
      sum.window_values += values;
    }
    if (layer.recurrence != Recurrence::none) ++sum.stateful;
    if (layer.ffn != 0) ++sum.dense;
    if (layer.experts != 0) ++sum.experts;
    sum.convolution += layer.conv_state;
    sum.state += layer.state;
  }
  return sum;
}

/// A letter for each layer.
[[nodiscard]] std::string letters_of(const ModelShape& shape, const auto& letter_of) {
  std::string letters;
  for (const LayerShape& layer : shape.layers) letters += letter_of(layer);
  return letters;
}

inline char letter_of_attention(const LayerShape& layer) {
  return layer.attention == Attention::full ? '-' : to_string(layer.attention)[0];
}

/// The shape of a config.json with this text.
inline ModelShape shape_of_config(std::string_view text) {
  const TempFolder folder;
  return internal::config_shape("config.json",
                                internal::read_json_config(folder.write("config.json", text)));
}

/// The shape of a config.json with these entries: "hidden_size=64 layer_types=['mamba']".
inline ModelShape shape_of_words(std::string_view architecture, std::string_view entries) {
  std::string json = "{'model_type':'" + std::string(architecture) + "'";
  while (!entries.empty()) {
    const std::string_view word = internal::next_word(entries);
    const std::size_t equals = word.find('=');
    json +=
        ",'" + std::string(word.substr(0, equals)) + "':" + std::string(word.substr(equals + 1));
  }
  std::ranges::replace(json, '\'', '"');
  return shape_of_config(json + "}");
}

/// A GGUF header that a test composes.
class MadeHeader {
 public:
  explicit MadeHeader(std::string architecture, std::string_view keys = "")
      : architecture_(std::move(architecture)) {
    metadata_.add("general.architecture", architecture_, 24);
    with(keys);
  }

  /// Adds a key of the architecture.
  MadeHeader& with(const std::string& key, Metadata::Value value) {
    metadata_.add(architecture_ + "." + key, std::move(value), ++offset_);
    return *this;
  }
  /// Adds numbers and lists of numbers: "block_count=4 attention.head_count_kv=2,0,2,0".
  MadeHeader& with(std::string_view keys) {
    while (!keys.empty()) {
      std::string_view word = internal::next_word(keys);
      const std::string key(word.substr(0, word.find('=')));
      word.remove_prefix(key.size() + 1);
      std::vector<std::int64_t> numbers;
      std::istringstream list{std::string(word)};
      for (std::string number; std::getline(list, number, ',');) {
        numbers.push_back(std::stoll(number));
      }
      if (numbers.size() > 1) {
        with(key, std::move(numbers));
      } else {
        with(key, static_cast<std::uint64_t>(numbers.at(0)));
      }
    }
    return *this;
  }
  MadeHeader& with_tensor(std::string_view name, std::uint64_t rows, std::uint64_t columns) {
    TensorEntry tensor{.name = name, .rank = 2, .bytes = rows * columns * 4};
    tensor.dimensions = {rows, columns};
    tensors_.push_back(tensor);
    return *this;
  }

  [[nodiscard]] Metadata& metadata() { return metadata_; }
  [[nodiscard]] ModelShape shape() const {
    internal::TensorDirectoryBuilder builder;
    builder.begin_file({.path = "a.gguf"});
    for (TensorEntry tensor : tensors_) {
      tensor.id = internal::part_id_of(tensor.name);
      builder.add(tensor, 0);
    }
    return internal::gguf_shape("a.gguf", metadata_, std::move(builder).finish());
  }

 private:
  std::string architecture_;
  std::uint64_t offset_ = 100;
  Metadata metadata_;
  std::vector<TensorEntry> tensors_;
};

}  // namespace tapedeck::tests
