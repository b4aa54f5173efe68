#include "model/tensor_names.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>

namespace tapedeck::internal {
namespace {

constexpr std::uint32_t kMostNumberedLayers = 65'536;  // A name can claim any number.

struct Word {
  std::string_view text;
  Part part;
};

// A word between dots, without the endings that `NameReader` takes off. In order.
constexpr auto kPartWords = std::to_array<Word>({
    {"Wqkv", Part::query_key_value},
    {"attention_norm", Part::attention_norm},
    {"attn_k", Part::key},
    {"attn_k_b", Part::latent_key_value},
    {"attn_k_norm", Part::attention_inner_norm},
    {"attn_kv_a_mqa", Part::latent},
    {"attn_kv_a_norm", Part::attention_inner_norm},
    {"attn_kv_b", Part::latent_key_value},
    {"attn_norm", Part::attention_norm},
    {"attn_norm_2", Part::attention_norm_2},
    {"attn_output", Part::attention_output},
    {"attn_q", Part::query},
    {"attn_q_a", Part::query_low_rank},
    {"attn_q_a_norm", Part::attention_inner_norm},
    {"attn_q_b", Part::query},
    {"attn_q_norm", Part::attention_inner_norm},
    {"attn_qkv", Part::query_key_value},
    {"attn_sinks", Part::attention_other},
    {"attn_v", Part::value},
    {"attn_v_b", Part::latent_key_value},
    {"c_attn", Part::query_key_value},
    {"c_fc", Part::up},
    {"dense_4h_to_h", Part::down},
    {"dense_h_to_4h", Part::up},
    {"down_proj", Part::down},
    {"embed", Part::embedding},
    {"embed_in", Part::embedding},
    {"embed_out", Part::head},
    {"embed_positions", Part::position_embedding},
    {"embed_tokens", Part::embedding},
    {"embedding", Part::embedding},
    {"exp_probs_b", Part::router},
    {"fc1", Part::up},
    {"fc2", Part::down},
    {"ffn_down", Part::down},
    {"ffn_gate", Part::gate},
    {"ffn_gate_inp", Part::router},
    {"ffn_gate_up", Part::gate_up},
    {"ffn_norm", Part::ffn_norm},
    {"ffn_up", Part::up},
    {"gate_proj", Part::gate},
    {"gate_up_proj", Part::gate_up},
    {"input_layernorm", Part::attention_norm},
    {"k_layernorm", Part::attention_inner_norm},
    {"k_norm", Part::attention_inner_norm},
    {"k_proj", Part::key},
    {"kv_a_layernorm", Part::attention_inner_norm},
    {"kv_a_proj_with_mqa", Part::latent},
    {"kv_b_proj", Part::latent_key_value},
    {"lm_head", Part::head},
    {"ln_1", Part::attention_norm},
    {"ln_2", Part::ffn_norm},
    {"ln_f", Part::final_norm},
    {"o_proj", Part::attention_output},
    {"output", Part::head},
    {"output_layer", Part::head},
    {"position_embd", Part::position_embedding},
    {"position_embeddings", Part::position_embedding},
    {"post_attention_norm", Part::post_attention_norm},
    {"q_a_layernorm", Part::attention_inner_norm},
    {"q_a_proj", Part::query_low_rank},
    {"q_b_proj", Part::query},
    {"q_layernorm", Part::attention_inner_norm},
    {"q_norm", Part::attention_inner_norm},
    {"q_proj", Part::query},
    {"qkv_proj", Part::query_key_value},
    {"query_key_value", Part::query_key_value},
    {"router", Part::router},
    {"tok_embeddings", Part::embedding},
    {"token_embd", Part::embedding},
    {"token_embd_norm", Part::embedding_norm},
    {"up_proj", Part::up},
    {"v_proj", Part::value},
    {"w1", Part::gate},
    {"w13", Part::gate_up},
    {"w2", Part::down},
    {"w3", Part::up},
    {"word_embeddings", Part::embedding},
    {"word_embeddings_layernorm", Part::embedding_norm},
    {"wpe", Part::position_embedding},
    {"wqkv", Part::query_key_value},
    {"wte", Part::embedding},
});
static_assert(std::is_sorted(kPartWords.begin(), kPartWords.end(),
                             [](const Word& a, const Word& b) { return a.text < b.text; }));

struct TowerWord {
  std::string_view text;
  Tower tower;
};
// Any part of a word before the layer's number.
constexpr auto kTowers = std::to_array<TowerWord>({{"vision", Tower::vision},
                                                   {"visual", Tower::vision},
                                                   {"multi_modal", Tower::vision},
                                                   {"mm_projector", Tower::vision},
                                                   {"audio", Tower::audio},
                                                   {"talker", Tower::audio},
                                                   {"token2wav", Tower::audio},
                                                   {"mtp", Tower::draft}});

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool is_any(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Takes an ending off a word.
bool cut_ending(std::string_view& word, std::string_view ending) {
  if (!word.ends_with(ending)) return false;
  word.remove_suffix(ending.size());
  return true;
}

/// Reads a name from its first word to its last.
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
    for (const TowerWord& known : kTowers) {
      if (holds(word, known.text)) id_.tower = known.tower;
    }
    if (first_ && is_any(word, {"v", "mm"})) id_.tower = Tower::vision;
    if (first_ && word == "a") id_.tower = Tower::audio;
  }

  void read_ending(std::string_view& word) {
    if (word == "bias" || cut_ending(word, "_bias")) {
      id_.piece = Piece::bias;
    } else if (is_any(word, {"qzeros", "zero_point", "weight_zero_point"})) {
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
    const auto* const known = std::lower_bound(
        kPartWords.begin(), kPartWords.end(), word,
        [](const Word& entry, std::string_view text) { return entry.text < text; });
    if (known != kPartWords.end() && known->text == word) {
      id_.part = known->part;
    } else if (holds(word, "norm") || holds(word, "Norm")) {
      id_.part =
          holds(word, "embed") || holds(before_, "embed") ? Part::embedding_norm : Part::norm;
    } else if (holds(word, "router") ||
               (word == "gate" && is_any(before_, {"mlp", "block_sparse_moe", "feed_forward"}))) {
      id_.part = Part::router;
    } else if (holds(word, "conv")) {
      id_.part = Part::convolution;
    }
    recurrent_ |= word.starts_with("ssm") || word.starts_with("time_mix") ||
                  word.starts_with("channel_mix") || is_any(word, {"linear_attn", "mamba"});
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

PartId part_id_of(std::string_view tensor) noexcept {
  NameReader reader;
  while (!tensor.empty()) {
    const std::string_view word = tensor.substr(0, tensor.find('.'));
    reader.read(word);
    tensor.remove_prefix(std::min(word.size() + 1, tensor.size()));
  }
  return reader.id();
}

}  // namespace tapedeck::internal
