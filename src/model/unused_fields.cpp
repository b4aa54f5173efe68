// SPDX-License-Identifier: Apache-2.0
#include "model/unused_fields.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <variant>

#include "base/printable.hpp"
#include "model/words.hpp"

namespace tapedeck::internal {
namespace {

// Names that look as if they bore on a size, but do not: they scale, route or train, or describe a
// choice of the user. An object of such a name is skipped as a whole.
constexpr std::string_view kOfNoSize =
    "rope_scaling rope_parameters input_activations output_activations kv_cache_scheme id2label "
    "label2id auto_map task_specific_params init_config meta compression_ratio "
    "global_compression_ratio clip_qkv rescale_every_n_layers "
    "chunk_size mamba_chunk_size chunk_size_feed_forward index_topk index_topk_freq "
    "index_skip_topk_offset "
    "num_experts_per_tok num_experts_per_token experts_per_token top_k_experts moe_k moe_topk "
    "num_expert_group num_expert_groups layerdrop mscale_all_dim vision_feature_layer "
    "layer_norm_eps layernorm_epsilon num_hash_layers";

constexpr auto kEndingsOfNoSize = std::to_array<std::string_view>(
    {"_token_id", "_token_index", "_per_image", "_dropout", "_prob", "_eps", "_epsilon", "_coef",
     "_scale", "_scaling_factor", "_multiplier", "_multipliers", "_norm_topk", "_std", "_range",
     "_theta", "_alpha", "_beta"});

/// What a name bears on if it contains one of the words.
struct SizeWords {
  Sizes sizes;
  std::string_view words;
};

// The first row with a word of the name decides.
constexpr auto kSizeWords = std::to_array<SizeWords>({
    {kWeightSizes,  // Other models beside the decoder, and layers that draft tokens.
     "vision visual audio speech tower projector mtp nextn draft"},
    {kWeightSizes,
     "index_n_heads per_layer_input low_rank laurel_rank dt_rank time_step_rank "
     "ffn_dim_multiplier"},
    {kWeightSizes,
     "embed_dim embed_proj embedding_dim embedding_size proj_dim proj_size projection_dim"},
    {kCacheSizes, "window attention_chunk cross_attention"},
    {kAllSizes, "kv"},
    {kWeightSizes,
     "expert moe quant bits lora vocab intermediate ffn ff_dim n_inner feed_forward dense sparse "
     "codebook adapter"},
    {kAllSizes,
     "head layer rank latent indexer state conv ssm mamba compress cache attn_type full_attention "
     "hidden_size n_embd d_model expand embedding_length block_count token_shift n_groups "
     "group_count"},
});

Sizes sizes_of(std::string_view name) noexcept {
  for (const auto& [sizes, words] : kSizeWords) {
    for (std::string_view rest = words; !rest.empty();) {
      if (name.find(next_word(rest)) != std::string_view::npos) return sizes;
    }
  }
  return kNoSizes;
}

bool is_of_no_size(std::string_view name) noexcept {
  if (has_word(kOfNoSize, name)) return true;
  if (name.ends_with("ffn_dim_multiplier")) return false;
  return std::ranges::any_of(kEndingsOfNoSize,
                             [&](std::string_view ending) { return name.ends_with(ending); });
}

/// Whether a value may state a size: a number that is not 0, or a list that is not empty.
struct MayStateSize {
  bool operator()(std::uint64_t number) const { return number != 0; }
  bool operator()(double number) const { return number > 0; }
  bool operator()(const Metadata::Omitted& /*list*/) const { return true; }
  template <class T>
  bool operator()(const std::vector<T>& list) const {
    return !list.empty();
  }
  template <class T>
  bool operator()(const T& /*other*/) const {
    return false;
  }
};

class Search {
 public:
  explicit Search(const Figures& figures) : figures_(figures) {
    for (const Metadata::Entry& entry : figures.metadata().entries()) {
      if (figures.used_for(entry) == kNoSizes) continue;
      const std::string_view path = entry.key;
      for (std::size_t end = path.find('.'); end != std::string_view::npos;
           end = path.find('.', end + 1)) {
        used_objects_.insert(path.substr(0, end));
      }
    }
  }

  std::vector<UnusedField> fields() {
    for (const Metadata::Entry& entry : figures_.metadata().entries()) {
      if (!std::holds_alternative<std::monostate>(entry.value)) consider(entry);
    }
    return std::move(found_);
  }

 private:
  // Objects in which something was used are looked into. Any other is one field.
  void consider(const Metadata::Entry& entry) {
    const std::string_view path = entry.key;
    const std::size_t inside = path.size() - without_scope(path).size();
    if (figures_.of_gguf() && inside == 0) return;
    const bool may_state_size = std::visit(MayStateSize{}, entry.value);
    Sizes sizes = kNoSizes;
    std::optional<std::size_t> unused_end;
    for (std::size_t begin = inside; begin < path.size();) {
      const std::size_t end = std::min(path.find('.', begin), path.size());
      const std::string_view name = path.substr(begin, end - begin);
      if (is_of_no_size(name)) return;
      if (!unused_end && !used_objects_.contains(path.substr(0, end))) unused_end = end;
      // A name within an object says what it bears on only if that of the object does not.
      const bool object = end != path.size();
      if (unused_end && sizes == kNoSizes && (object || may_state_size)) sizes = sizes_of(name);
      begin = end + 1;
    }
    sizes = static_cast<Sizes>(sizes & ~used_for(entry));
    if (sizes != kNoSizes) add(path.substr(0, unused_end.value_or(path.size())), sizes);
  }

  [[nodiscard]] std::string_view without_scope(std::string_view path) const {
    for (const std::string& scope : figures_.scopes()) {
      if (path.starts_with(scope)) return path.substr(scope.size());
    }
    return path;
  }

  // A key outside the preferred scope is not needed where the scope has the same key.
  [[nodiscard]] Sizes used_for(const Metadata::Entry& entry) const {
    const Sizes own = figures_.used_for(entry);
    const std::string& scope = figures_.scopes().front();
    const Metadata::Entry* const preferred =
        entry.key.starts_with(scope) ? nullptr : figures_.metadata().find(scope + entry.key);
    return preferred == nullptr ? own : static_cast<Sizes>(own | figures_.used_for(*preferred));
  }

  // The fields of an object follow each other.
  void add(std::string_view path, Sizes sizes) {
    if (found_.empty() || found_.back().path != path) {
      found_.push_back({std::string(path), kNoSizes});
    }
    found_.back().sizes = static_cast<Sizes>(found_.back().sizes | sizes);
  }

  const Figures& figures_;
  std::unordered_set<std::string_view> used_objects_;  // Paths of objects with a used field.
  std::vector<UnusedField> found_;
};

std::string names_of(const std::vector<UnusedField>& fields, Sizes sizes) {
  constexpr std::size_t kMostNamed = 12;
  std::string names;
  std::size_t count = 0;
  for (const UnusedField& field : fields) {
    if (field.sizes != sizes || ++count > kMostNamed) continue;
    names += (names.empty() ? "" : ", ") + printable(field.path);
  }
  if (count > kMostNamed) names += " and " + std::to_string(count - kMostNamed) + " more";
  return names;
}

}  // namespace

std::vector<UnusedField> unused_fields(const Figures& figures) { return Search(figures).fields(); }

void assume(ModelShape& shape, Sizes sizes, std::string warning) {
  if ((sizes & kWeightSizes) != 0) shape.exact_weights = false;
  if ((sizes & kCacheSizes) != 0) shape.exact_caches = false;
  shape.warnings.push_back(std::move(warning));
}

void note_unused_fields(const Figures& figures, Sizes sizes, bool listed, ModelShape& shape) {
  std::vector<UnusedField> fields = unused_fields(figures);
  for (UnusedField& field : fields) field.sizes = static_cast<Sizes>(field.sizes & sizes);
  for (const auto& [of, part] :
       {std::pair(kWeightSizes, listed ? "the compute buffers" : "the weights"),
        std::pair(kCacheSizes, "the caches"),
        std::pair(kAllSizes, listed ? "the caches" : "the weights and the caches")}) {
    const std::string names = names_of(fields, of);
    if (names.empty()) continue;
    assume(shape, of, "fields that may bear on " + std::string(part) + " are not used: " + names);
  }
}

}  // namespace tapedeck::internal
