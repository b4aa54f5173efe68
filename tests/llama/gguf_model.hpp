// SPDX-License-Identifier: Apache-2.0
/// @file
/// GGUF models that a test can change before they are written, and an independent implementation of
/// what their numbers mean.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "llama/support.hpp"
#include "model/gguf_bytes.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {

// Values of enum ggml_type.
inline std::uint32_t ggml_number(DType type) {
  for (std::uint32_t number = 0; number < 64; ++number) {
    if (dtype_from_ggml(number) == type) return number;
  }
  throw std::logic_error("no type of ggml");
}

inline double value_of_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

// The nearest half; only for numbers within the range of halves.
inline std::uint16_t half_of(double value) {
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::fabs(value);
  if (size < std::ldexp(1, -14)) {
    return static_cast<std::uint16_t>(sign + std::lrint(std::ldexp(size, 24)));
  }
  const int exponent = std::ilogb(size);
  const auto mantissa = std::lrint(std::ldexp(size, 10 - exponent));
  return static_cast<std::uint16_t>(sign + (exponent + 14) * 1024 + mantissa);
}

template <class T>
T value_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

struct GgufTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  // slowest dimension first
  DType dtype = DType::f32;
  std::string bytes;

  [[nodiscard]] std::size_t elements() const {
    std::size_t product = 1;
    for (const std::uint64_t dimension : shape) product *= dimension;
    return product;
  }

  [[nodiscard]] std::vector<float> values() const {
    std::vector<float> out;
    for (std::size_t i = 0; i < elements(); ++i) {
      switch (dtype) {
        case DType::f32:
          out.push_back(value_at<float>(bytes, 4 * i));
          break;
        case DType::f16:
          out.push_back(static_cast<float>(value_of_half(value_at<std::uint16_t>(bytes, 2 * i))));
          break;
        case DType::bf16: {
          const std::uint32_t high = value_at<std::uint16_t>(bytes, 2 * i);
          const std::uint32_t bits = high << 16;
          float value = 0;
          std::memcpy(&value, &bits, sizeof value);
          out.push_back(value);
          break;
        }
        case DType::q8_0: {
          const std::size_t block = i / 32 * 34;
          const double scale = value_of_half(value_at<std::uint16_t>(bytes, block));
          out.push_back(
              static_cast<float>(scale * value_at<std::int8_t>(bytes, block + 2 + i % 32)));
          break;
        }
        default:
          throw std::logic_error("a type that tests do not read");
      }
    }
    return out;
  }

  /// Stores new values, as exactly as the type allows.
  void store(DType type, const std::vector<float>& values) {
    dtype = type;
    bytes.clear();
    const auto append = [this](auto value) {
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (type == DType::f32) append(values[i]);
      if (type == DType::f16) append(half_of(static_cast<double>(values[i])));
      if (type == DType::bf16)
        append(static_cast<std::uint16_t>(
            value_at<std::uint32_t>({reinterpret_cast<const char*>(&values[i]), 4}, 0) >> 16));
      if (type != DType::q8_0 || i % 32 != 0) continue;
      float largest = 0;
      for (std::size_t k = i; k < i + 32; ++k) largest = std::max(largest, std::fabs(values[k]));
      const std::uint16_t scale = half_of(static_cast<double>(largest) / 127);
      append(scale);
      for (std::size_t k = i; k < i + 32; ++k) {
        const double size = value_of_half(scale);
        const double quant = size == 0 ? 0 : static_cast<double>(values[k]) / size;
        append(static_cast<std::int8_t>(std::lrint(std::clamp(quant, -127.0, 127.0))));
      }
    }
  }
};

/// Builds a model of version 3, key by key and tensor by tensor.
class GgufModel {
 public:
  std::vector<GgufTensor> tensors;
  std::size_t alignment = 32;

  /// The contents of a real file.
  static GgufModel of(const std::filesystem::path& path) {
    const Model model = read_model(path);
    const std::string file = content_of(path);
    GgufModel out;
    const auto entries = model.metadata.entries();
    // The first tensor follows the last key, with the length of its name, and its name.
    const std::string name(model.tensors.entries().front().name);
    const std::string first = GgufBytes().string(name).bytes();
    const std::size_t end = file.find(first, entries.back().offset);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const std::size_t next = i + 1 < entries.size() ? entries[i + 1].offset : end;
      out.keys_.push_back(
          {entries[i].key, file.substr(entries[i].offset, next - entries[i].offset)});
    }
    for (const TensorEntry& entry : model.tensors.entries()) {
      out.tensors.push_back({.name = std::string(entry.name),
                             .shape = {entry.shape().begin(), entry.shape().end()},
                             .dtype = entry.dtype,
                             .bytes = file.substr(entry.offset, entry.bytes)});
    }
    return out;
  }

  /// Replaces a key, or adds it.
  template <class... Value>
  GgufModel& set(const std::string& name, Value... value) {
    return put(name, GgufBytes().key(name, value...).bytes());
  }
  template <class T>
  GgufModel& set_array(const std::string& name, std::uint32_t type, const std::vector<T>& values) {
    return put(name, GgufBytes().array(name, type, values).bytes());
  }
  GgufModel& set_strings(const std::string& name, const std::vector<std::string>& values) {
    return put(name, GgufBytes().strings(name, values).bytes());
  }
  GgufModel& remove(const std::string& name) {
    std::erase_if(keys_, [&](const Key& key) { return key.name == name; });
    return *this;
  }

  GgufModel& add(const std::string& name, const std::vector<std::uint64_t>& shape,
                 const std::vector<float>& values) {
    tensors.push_back({.name = name, .shape = shape, .dtype = {}, .bytes = {}});
    tensors.back().store(DType::f32, values);
    return *this;
  }
  [[nodiscard]] GgufTensor& tensor(const std::string& name) {
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const GgufTensor& one) { return one.name == name; });
    if (found == tensors.end()) throw std::logic_error("no tensor " + name);
    return *found;
  }
  GgufModel& remove_tensor(const std::string& name) {
    std::erase_if(tensors, [&](const GgufTensor& tensor) { return tensor.name == name; });
    return *this;
  }

  /// Converts all tensors to f32.
  [[nodiscard]] GgufModel dequantised() const {
    GgufModel out = *this;
    for (GgufTensor& tensor : out.tensors) tensor.store(DType::f32, tensor.values());
    return out;
  }
  /// Converts matrices to a type if its blocks divide their rows, and otherwise to f16, as
  /// llama-quantize does.
  [[nodiscard]] GgufModel quantised(DType type) const {
    GgufModel out = *this;
    for (GgufTensor& tensor : out.tensors) {
      if (tensor.shape.size() < 2) continue;
      const bool divides = tensor.shape.back() % traits(type).block_elements == 0;
      tensor.store(divides ? type : DType::f16, tensor.values());
    }
    return out;
  }

  [[nodiscard]] std::string bytes() const {
    GgufBytes out;
    out.header(tensors.size(), keys_.size());
    std::string head = out.bytes();
    for (const Key& key : keys_) head += key.raw;
    GgufBytes infos;
    std::string data;
    for (const GgufTensor& tensor : tensors) {
      const std::vector<std::uint64_t> turned(tensor.shape.rbegin(), tensor.shape.rend());
      infos.tensor(tensor.name, turned, ggml_number(tensor.dtype), data.size());
      data += tensor.bytes;
      data.resize((data.size() + alignment - 1) / alignment * alignment);
    }
    head += infos.bytes();
    head.resize((head.size() + alignment - 1) / alignment * alignment);
    return head + data;
  }

 private:
  struct Key {
    std::string name;
    std::string raw;
  };

  GgufModel& put(const std::string& name, std::string raw) {
    for (Key& key : keys_) {
      if (key.name != name) continue;
      key.raw = std::move(raw);
      return *this;
    }
    keys_.push_back({name, std::move(raw)});
    return *this;
  }

  std::vector<Key> keys_;
};

/// The sizes of a generated GGUF model.
struct GgufFigures {
  std::uint32_t dim = 64;
  std::uint32_t ffn = 100;  // not a multiple of any block
  std::uint32_t layers = 2;
  std::uint32_t heads = 4;
  std::uint32_t kv_heads = 2;
  std::uint32_t key = 16;
  std::uint32_t value = 16;
  std::uint32_t vocab = 300;
  std::uint32_t context = 20;
  bool tied = true;
};

/// The tokens: unk, BOS, EOS, the bytes, and words of letters.
inline void add_tokenizer(GgufModel& model, std::uint32_t vocab) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(piece_of_byte(byte));
    types.push_back(6);
  }
  const std::string mark = "\xE2\x96\x81";
  for (const char* piece : {"", "a", "b", "c", "ab", "bc"}) {
    tokens.push_back(*piece == '\0' ? mark : piece);
    types.push_back(1);
  }
  while (tokens.size() < vocab) {
    tokens.push_back(mark + "w" + std::to_string(tokens.size()));
    types.push_back(1);
  }
  std::vector<float> scores;
  for (std::size_t i = 0; i < tokens.size(); ++i) scores.push_back(-static_cast<float>(i));
  model.set("tokenizer.ggml.model", "llama")
      .set_strings("tokenizer.ggml.tokens", tokens)
      .set_array("tokenizer.ggml.scores", gguf_type::f32, scores)
      .set_array("tokenizer.ggml.token_type", gguf_type::i32, types)
      .set("tokenizer.ggml.bos_token_id", gguf_type::u32, std::uint32_t{1})
      .set("tokenizer.ggml.eos_token_id", gguf_type::u32, std::uint32_t{2});
}

/// A complete model with random weights.
inline GgufModel made_gguf(const GgufFigures& f = {}, std::uint64_t seed = 1) {
  GgufModel model;
  model.set("general.architecture", "llama")
      .set("llama.context_length", gguf_type::u32, f.context)
      .set("llama.embedding_length", gguf_type::u32, f.dim)
      .set("llama.feed_forward_length", gguf_type::u32, f.ffn)
      .set("llama.block_count", gguf_type::u32, f.layers)
      .set("llama.attention.head_count", gguf_type::u32, f.heads)
      .set("llama.attention.head_count_kv", gguf_type::u32, f.kv_heads)
      .set("llama.attention.key_length", gguf_type::u32, f.key)
      .set("llama.attention.value_length", gguf_type::u32, f.value)
      .set("llama.rope.dimension_count", gguf_type::u32, f.key)
      .set("llama.attention.layer_norm_rms_epsilon", gguf_type::f32, 1e-5F);
  add_tokenizer(model, f.vocab);
  std::mt19937_64 random(seed);
  const auto noise = [&](std::size_t n, float middle, float reach) {
    std::uniform_real_distribution<float> unit(middle - reach, middle + reach);
    std::vector<float> values(n);
    for (float& value : values) value = unit(random);
    return values;
  };
  const auto matrix = [&](const std::string& name, std::uint64_t rows, std::uint64_t columns) {
    const float reach = std::sqrt(3.0F / static_cast<float>(columns));
    model.add(name, {rows, columns}, noise(rows * columns, 0, reach));
  };
  const auto norm = [&](const std::string& name) {
    model.add(name, {f.dim}, noise(f.dim, 1, 0.1F));
  };
  matrix("token_embd.weight", f.vocab, f.dim);
  for (std::uint32_t layer = 0; layer < f.layers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    norm(blk + "attn_norm.weight");
    matrix(blk + "attn_q.weight", std::uint64_t{f.heads} * f.key, f.dim);
    matrix(blk + "attn_k.weight", std::uint64_t{f.kv_heads} * f.key, f.dim);
    matrix(blk + "attn_v.weight", std::uint64_t{f.kv_heads} * f.value, f.dim);
    matrix(blk + "attn_output.weight", f.dim, std::uint64_t{f.heads} * f.value);
    norm(blk + "ffn_norm.weight");
    matrix(blk + "ffn_gate.weight", f.ffn, f.dim);
    matrix(blk + "ffn_up.weight", f.ffn, f.dim);
    matrix(blk + "ffn_down.weight", f.dim, f.ffn);
  }
  norm("output_norm.weight");
  if (!f.tied) matrix("output.weight", f.vocab, f.dim);
  return model;
}

}  // namespace tapedeck::tests
