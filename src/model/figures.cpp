// SPDX-License-Identifier: Apache-2.0
#include "model/figures.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "base/amounts.hpp"
#include "model/architectures.hpp"
#include "model/file_errors.hpp"
#include "model/words.hpp"

namespace tapedeck::internal {
namespace {

/// The keys of a figure in each dialect. The first one that a file has is used.
struct Keys {
  Figure figure;
  std::string_view gguf;
  std::string_view config;
};

// In the order of Figure. Sources: docs/gguf.md of ggml, llama-arch.cpp of llama.cpp; the
// configuration classes of transformers and of the models' own repositories.
constexpr std::array<Keys, kFigures> kKeys = {{
    {Figure::layers, "block_count", "num_hidden_layers n_layer n_layers num_layers"},
    {Figure::hidden, "embedding_length", "hidden_size n_embd d_model"},
    {Figure::vocabulary, "vocab_size", "padded_vocab_size vocab_size"},
    {Figure::context, "context_length",
     "max_position_embeddings n_positions max_seq_len seq_length max_sequence_length n_ctx"},
    {Figure::draft_layers, "nextn_predict_layers", "num_nextn_predict_layers"},

    {Figure::heads, "attention.head_count", "num_attention_heads n_head n_heads num_heads"},
    {Figure::heads_windowed, "", "swa_num_attention_heads"},
    {Figure::kv_heads, "attention.head_count_kv",
     "num_key_value_heads num_kv_heads multi_query_group_num attn_config.kv_n_heads"},
    {Figure::kv_heads_windowed, "", "swa_num_key_value_heads"},
    {Figure::kv_heads_full, "", "num_global_key_value_heads"},

    {Figure::head_dim, "attention.key_length", "head_dim attention_head_dim kv_channels"},
    {Figure::head_dim_windowed, "attention.key_length_swa", "swa_head_dim"},
    {Figure::head_dim_full, "", "global_head_dim"},
    {Figure::value_dim, "attention.value_length", "v_head_dim"},
    {Figure::value_dim_windowed, "attention.value_length_swa", "swa_v_head_dim"},

    {Figure::window, "attention.sliding_window", "sliding_window sliding_window_size"},
    {Figure::window_period, "attention.sliding_window_pattern", "sliding_window_pattern"},
    {Figure::chunk, "attention.chunk_size", "attention_chunk_size"},
    {Figure::first_windowed_layer, "", "max_window_layers"},
    {Figure::shared_cache_layers, "attention.shared_kv_layers", "num_kv_shared_layers"},
    {Figure::cache_layers, "", ""},

    {Figure::kv_lora, "attention.kv_lora_rank", "kv_lora_rank"},
    {Figure::q_lora, "attention.q_lora_rank", "q_lora_rank"},
    {Figure::rope_dim, "rope.dimension_count", "qk_rope_head_dim"},
    {Figure::nope_dim, "", "qk_nope_head_dim"},
    {Figure::latent_key_dim, "attention.key_length_mla", ""},
    {Figure::indexer_dim, "attention.indexer.key_length", "index_head_dim"},
    {Figure::compress_ratio, "attention.compress_ratios", "compress_ratios"},

    {Figure::ffn, "feed_forward_length",
     "intermediate_size_mlp block_ff_dim intermediate_size n_inner ffn_dim ffn_hidden_size"},
    {Figure::experts, "expert_count",
     "num_local_experts num_experts n_routed_experts moe_num_experts ffn_config.moe_num_experts"},
    {Figure::experts_used, "expert_used_count",
     "num_experts_per_tok num_experts_per_token experts_per_token top_k_experts moe_k moe_topk "
     "ffn_config.moe_top_k"},
    {Figure::expert_ffn, "expert_feed_forward_length feed_forward_length",
     "moe_intermediate_size expert_intermediate_size ffn_config.ffn_hidden_size "
     "intermediate_size"},
    {Figure::shared_experts, "expert_shared_count",
     "n_shared_experts num_shared_experts moe_num_shared_experts"},
    {Figure::shared_ffn, "expert_shared_feed_forward_length",
     "shared_expert_intermediate_size moe_shared_expert_intermediate_size "
     "shared_intermediate_size"},

    {Figure::dense_layers, "leading_dense_block_count", "first_k_dense_replace num_dense_layers"},
    {Figure::expert_period, "interleave_moe_layer_step moe_every_n_layers",
     "decoder_sparse_step interleave_moe_layer_step expert_layer_period moe_layer_freq"},
    {Figure::expert_offset, "", "expert_layer_offset"},

    {Figure::conv_kernel, "ssm.conv_kernel",
     "mamba_d_conv conv_kernel linear_conv_kernel_dim linear_attn_config.short_conv_kernel_size "
     "conv_size"},
    {Figure::inner, "ssm.inner_size", "mamba_d_ssm"},
    {Figure::state_heads, "ssm.time_step_rank",
     "mamba_num_heads mamba_n_heads linear_num_value_heads linear_attn_config.num_heads num_heads"},
    {Figure::state_head_dim, "kda.head_dim",
     "mamba_head_dim mamba_d_head linear_value_head_dim linear_attn_config.head_dim head_dim"},
    {Figure::state, "ssm.state_size",
     "mamba_d_state ssm_state_size state_size linear_key_head_dim linear_attn_config.head_dim"},
    {Figure::groups, "ssm.group_count",
     "mamba_n_groups n_groups linear_num_key_heads linear_attn_config.num_heads"},
    {Figure::expand, "", "mamba_expand expand"},
    {Figure::time_step_rank, "ssm.time_step_rank", "mamba_dt_rank time_step_rank"},

    {Figure::conv_cache, "shortconv.l_cache", "conv_L_cache"},
    {Figure::attention_period, "full_attention_interval",
     "full_attention_interval attn_layer_period"},
    {Figure::attention_offset, "", "attn_layer_offset"},
    {Figure::wkv_head, "wkv.head_size", "head_size head_dim"},
    {Figure::token_shift, "token_shift_count", ""},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kFigures; ++i) {
    if (kKeys[i].figure != static_cast<Figure>(i)) return false;
  }
  return true;
}
static_assert(in_order(), "the table of keys is in the order of Figure");

}  // namespace

Figures::Figures(std::string path, const Metadata& metadata, Dialect dialect,
                 std::vector<std::string> scopes, const Architecture& architecture)
    : path_(std::move(path)),
      metadata_(&metadata),
      dialect_(dialect),
      scopes_(std::move(scopes)),
      architecture_(&architecture),
      defaults_(architecture.defaults.begin(), architecture.defaults.end()),
      used_(std::make_shared<std::vector<std::uint8_t>>(metadata.entries().size())) {
  if (of_gguf()) return;
  defaults_.insert(defaults_.end(), architecture.config_defaults.begin(),
                   architecture.config_defaults.end());
}

Figures Figures::inside(std::string_view beginning) const {
  Figures out = *this;
  for (std::string& scope : out.scopes_) scope += beginning;
  return out;
}

Figures Figures::for_sizes(Sizes sizes) const {
  Figures out = *this;
  out.sizes_ = sizes;
  return out;
}

void Figures::mark(const Metadata::Entry& entry) const {
  (*used_)[static_cast<std::size_t>(&entry - metadata_->entries().data())] |= sizes_;
}

Sizes Figures::used_for(const Metadata::Entry& entry) const noexcept {
  return static_cast<Sizes>(
      (*used_)[static_cast<std::size_t>(&entry - metadata_->entries().data())]);
}

void Figures::consider(std::string_view keys) const {
  while (!keys.empty()) {
    const std::string_view key = next_word(keys);
    for (const std::string& scope : scopes_) {
      const Metadata::Entry* const found = metadata_->find(scope + std::string(key));
      if (found != nullptr) mark(*found);
    }
  }
}

void Figures::consider_all() const {
  for (const Metadata::Entry& entry : metadata_->entries()) {
    const auto begins = [&](const std::string& scope) { return entry.key.starts_with(scope); };
    if (std::ranges::any_of(scopes_, begins)) mark(entry);
  }
}

const Metadata::Entry* Figures::find_entry(std::string_view keys) const {
  for (const std::string& scope : scopes_) {
    for (std::string_view rest = keys; !rest.empty();) {
      const Metadata::Entry* const found = metadata_->find(scope + std::string(next_word(rest)));
      if (found != nullptr && !std::holds_alternative<std::monostate>(found->value)) return found;
    }
  }
  return nullptr;
}

std::string_view Figures::keys_of(Figure figure) const noexcept {
  const Keys& keys = kKeys[static_cast<std::size_t>(figure)];
  return of_gguf() ? keys.gguf : keys.config;
}

const Metadata::Entry* Figures::entry(std::string_view keys) const {
  const Metadata::Entry* const found = find_entry(keys);
  if (found != nullptr) mark(*found);
  return found;
}

// Configs may state a figure by several names. Those that agree are used, too.
const Metadata::Entry* Figures::stated(Figure figure) const {
  const Metadata::Entry* const found = find_entry(keys_of(figure));
  if (found == nullptr || (used_for(*found) & sizes_) == sizes_) return found;
  mark(*found);
  const auto number = metadata_->integer(found->key);
  if (!number) return found;
  for (const std::string& scope : scopes_) {
    for (std::string_view rest = keys_of(figure); !rest.empty();) {
      const Metadata::Entry* const same = metadata_->find(scope + std::string(next_word(rest)));
      if (same != nullptr && metadata_->integer(same->key) == number) mark(*same);
    }
  }
  return found;
}

bool Figures::is_list(Figure figure) const {
  const Metadata::Entry* const entry = find_entry(keys_of(figure));
  return entry != nullptr && std::holds_alternative<std::vector<std::int64_t>>(entry->value);
}

template <class Number>
std::uint64_t Figures::checked_figure(const Metadata::Entry& entry, Number value,
                                      std::uint64_t most) const {
  const bool negative = std::cmp_less(value, 0);
  if (!negative && std::cmp_less_equal(value, most)) return static_cast<std::uint64_t>(value);
  throw_figure_error(
      entry, FormatFault::out_of_range,
      (negative ? "is negative: " : "is larger than in any model: ") + std::to_string(value));
}

std::optional<std::uint64_t> Figures::find(Figure figure, std::size_t layer) const {
  const Metadata::Entry* const entry = stated(figure);
  if (entry == nullptr) {
    for (const Default& known : defaults_) {
      if (known.value != 0 && known.figure == figure) return known.value;
    }
    return std::nullopt;
  }
  const std::uint64_t most = figure == Figure::layers ? kMostLayers : kLargest;
  // Some converters write whole numbers as reals.
  if (const auto number = metadata_->integer(entry->key)) {
    return checked_figure(*entry, *number, most);
  }
  if (const auto* negative = std::get_if<std::int64_t>(&entry->value)) {
    return checked_figure(*entry, *negative, most);
  }
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&entry->value)) {
    if (layer < list->size()) return checked_figure(*entry, (*list)[layer], most);
    throw_figure_error(*entry, FormatFault::missing,
                       "has " + internal::count_of(list->size(), "element") +
                           ", but none for layer " + std::to_string(layer) + " of the model");
  }
  throw_figure_error(*entry, FormatFault::wrong_type, "is not a whole number");
}

std::uint64_t Figures::positive(Figure figure) const {
  if (const std::uint64_t value = get(figure, 0); value != 0) return value;
  throw_figure_error(figure, FormatFault::out_of_range, "is 0");
}

std::optional<std::uint64_t> Figures::count(std::string_view keys) const {
  while (!keys.empty()) {
    const std::string_view key = next_word(keys);
    for (const std::string& scope : scopes_) {
      const std::string full = scope + std::string(key);
      const auto number = metadata_->integer(full);
      if (!number || *number == 0) continue;
      const Metadata::Entry& found = *metadata_->find(full);
      mark(found);
      return checked_figure(found, *number, kLargest);
    }
  }
  return std::nullopt;
}

void Figures::throw_figure_error(const Metadata::Entry& entry, FormatFault fault,
                                 const std::string& message) const {
  throw_field_error({path_, entry.offset, entry.key, fault}, message,
                    "the file is broken or not a model of this kind");
}

void Figures::throw_figure_error(Figure figure, FormatFault fault,
                                 const std::string& message) const {
  if (const Metadata::Entry* const entry = stated(figure)) {
    throw_figure_error(*entry, fault, message);
  }
  std::string_view keys = keys_of(figure);
  throw_field_error({path_, 0, scopes_.back() + std::string(next_word(keys)), FormatFault::missing},
                    "is missing, or " + message, "the file is broken or not a model of this kind");
}

}  // namespace tapedeck::internal
