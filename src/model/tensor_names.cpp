// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_names.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "model/words.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint32_t kMostNumberedLayers = 65'536;  // A name can claim any number.

// Words between dots, without the endings that `NameReader` removes.
constexpr auto kPartWords = std::to_array<std::pair<Part, std::string_view>>({
    {Part::embedding,
     "embed embed_in embed_tokens embedding tok_embeddings token_embd word_embeddings wte"},
    {Part::position_embedding, "embed_positions position_embd position_embeddings wpe"},
    {Part::embedding_norm, "token_embd_norm word_embeddings_layernorm"},
    {Part::final_norm, "ln_f"},
    {Part::head, "embed_out lm_head output output_layer"},
    {Part::attention_norm, "attention_norm attn_norm input_layernorm ln_1"},
    {Part::attention_norm_2, "attn_norm_2"},
    {Part::post_attention_norm, "post_attention_norm"},
    {Part::ffn_norm, "ffn_norm ln_2"},
    {Part::query, "attn_q attn_q_b q_b_proj q_proj"},
    {Part::key, "attn_k k_proj"},
    {Part::value, "attn_v v_proj"},
    {Part::query_key_value, "Wqkv attn_qkv c_attn qkv_proj query_key_value wqkv"},
    {Part::query_low_rank, "attn_q_a q_a_proj"},
    {Part::latent, "attn_kv_a_mqa kv_a_proj_with_mqa"},
    {Part::latent_key_value, "attn_k_b attn_kv_b attn_v_b kv_b_proj"},
    {Part::attention_output, "attn_output o_proj"},
    {Part::attention_inner_norm,
     "attn_k_norm attn_kv_a_norm attn_q_a_norm attn_q_norm k_layernorm k_norm kv_a_layernorm "
     "q_a_layernorm q_layernorm q_norm"},
    {Part::attention_other, "attn_sinks"},
    {Part::gate, "ffn_gate gate_proj w1"},
    {Part::up, "c_fc dense_h_to_4h fc1 ffn_up up_proj w3"},
    {Part::down, "dense_4h_to_h down_proj fc2 ffn_down w2"},
    {Part::gate_up, "ffn_gate_up gate_up_proj w13"},
    {Part::router, "exp_probs_b ffn_gate_inp router"},
});

// A map, because a model may have a hundred thousand tensors with many words each.
const std::unordered_map<std::string_view, Part>& parts_by_word() {
  static const std::unordered_map<std::string_view, Part> parts = [] {
    std::unordered_map<std::string_view, Part> all;
    for (auto [part, words] : kPartWords) {
      while (!words.empty()) all.emplace(next_word(words), part);
    }
    return all;
  }();
  return parts;
}

// Words before the layer's number contain these.
constexpr auto kTowers = std::to_array<std::pair<Tower, std::string_view>>(
    {{Tower::vision, "vision visual multi_modal mm_projector"},
     {Tower::audio, "audio talker token2wav"},
     {Tower::draft, "mtp"}});

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Removes an ending from a word; false if the word does not have it.
bool cut_ending(std::string_view& word, std::string_view ending) {
  if (!word.ends_with(ending)) return false;
  word.remove_suffix(ending.size());
  return true;
}

/// Reads the words of a name in order.
class NameReader {
 public:
  void read(std::string_view word) {
    if (word.empty()) return;
    if (!read_number(word)) {
      if (!numbered_) read_tower(word);
      read_ending(word);
      read_part(word);
    }
    first_ = false;
    before_ = word;
  }

  [[nodiscard]] PartId id() {
    const Part part = id_.part;
    if (shared_) {
      id_.part = of_feed_forward() ? moved(Part::shared_gate) : Part::shared_other;
    } else if (routed_) {
      id_.part = of_feed_forward() ? moved(Part::expert_gate) : Part::expert_other;
    } else if (recurrent_ && !of_feed_forward()) {
      id_.part = is_norm(part)               ? Part::recurrent_norm
                 : part == Part::convolution ? part
                                             : Part::recurrent;
    } else if (!id_.layer && part == Part::norm) {
      id_.part = Part::final_norm;
    }
    return id_;
  }

 private:
  [[nodiscard]] bool of_feed_forward() const { return block_of(id_.part) == LayerBlock::ffn; }
  [[nodiscard]] Part moved(Part gate) const {
    return static_cast<Part>(static_cast<int>(id_.part) - static_cast<int>(Part::gate) +
                             static_cast<int>(gate));
  }

  bool read_number(std::string_view word) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(word.begin(), word.end(), number);
    if (error == std::errc::invalid_argument || end != word.end()) return false;
    const bool fits = error == std::errc{};
    if (before_ == "experts") {
      if (fits) id_.expert = number;
    } else if (!numbered_) {
      numbered_ = true;
      if (fits && number < kMostNumberedLayers) id_.layer = number;
    }
    return true;
  }

  void read_tower(std::string_view word) {
    for (auto [tower, parts] : kTowers) {
      while (!parts.empty()) {
        if (holds(word, next_word(parts))) id_.tower = tower;
      }
    }
    if (first_ && has_word("v mm", word)) id_.tower = Tower::vision;
    if (first_ && word == "a") id_.tower = Tower::audio;
  }

  void read_ending(std::string_view& word) {
    if (word == "bias" || cut_ending(word, "_bias")) {
      id_.piece = Piece::bias;
    } else if (has_word("qzeros zero_point weight_zero_point", word)) {
      id_.piece = Piece::zero_point;
    } else if (word == "g_idx") {
      id_.piece = Piece::index;
    } else if (cut_ending(word, "_scales") || holds(word, "scale")) {
      id_.piece = Piece::scale;
    }
    if (!cut_ending(word, "_blocks")) cut_ending(word, "_weight");
    routed_ |= word == "experts" || cut_ending(word, "_exps");
    shared_ |= holds(word, "shared_expert") || cut_ending(word, "_shexp");
  }

  void read_part(std::string_view word) {
    const auto known = parts_by_word().find(word);
    if (known != parts_by_word().end()) {
      id_.part = known->second;
    } else if (holds(word, "norm") || holds(word, "Norm")) {
      id_.part =
          holds(word, "embed") || holds(before_, "embed") ? Part::embedding_norm : Part::norm;
    } else if (holds(word, "router") ||
               (word == "gate" && has_word("mlp block_sparse_moe feed_forward", before_))) {
      id_.part = Part::router;
    } else if (holds(word, "conv")) {
      id_.part = Part::convolution;
    }
    recurrent_ |= word.starts_with("ssm") || word.starts_with("time_mix") ||
                  word.starts_with("channel_mix") || has_word("linear_attn mamba", word);
  }

  PartId id_;
  std::string_view before_;
  bool first_ = true;
  bool numbered_ = false;
  bool routed_ = false;
  bool shared_ = false;
  bool recurrent_ = false;
};

}  // namespace

PartId part_id_of(std::string_view tensor) {
  NameReader reader;
  while (!tensor.empty()) {
    const std::string_view word = tensor.substr(0, tensor.find('.'));
    reader.read(word);
    tensor.remove_prefix(std::min(word.size() + 1, tensor.size()));
  }
  return reader.id();
}

}  // namespace tapedeck::internal
