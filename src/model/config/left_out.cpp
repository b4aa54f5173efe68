// SPDX-License-Identifier: Apache-2.0
#include "model/config/left_out.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/amounts.hpp"
#include "base/checked_sizes.hpp"
#include "model/parameter_collector.hpp"
#include "model/unused_fields.hpp"
#include "model/words.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/dtype.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::string_view kTower = "vision_config.";

/// The figures of a tower. If one is missing, its size is not known.
class TowerFigures {
 public:
  TowerFigures(const Figures& model, std::uint64_t width)
      : hidden(width), model_(model), tower_(model.inside(kTower)) {}

  [[nodiscard]] CheckedSize operator[](std::string_view key) { return number(tower_.count(key)); }
  [[nodiscard]] CheckedSize of_model(std::string_view key) { return number(model_.count(key)); }
  [[nodiscard]] CheckedSize channels() const {
    return tower_.count("in_channels in_chans num_channels").value_or(3);
  }
  /// The positions of a square image.
  [[nodiscard]] CheckedSize positions_of_image() {
    const auto image = tower_.count("image_size");
    const auto patch = tower_.count("patch_size");
    complete_ = complete_ && image && patch;
    if (!complete_) return 0;
    return CheckedSize(*image / *patch) * (*image / *patch);
  }
  [[nodiscard]] CheckedSize length_of_list(std::string_view key) {
    complete_ = complete_ && tower_.entry(key) != nullptr;
    return tower_.integers(key).size();
  }
  void require(std::string_view key, bool value) {
    complete_ = complete_ && tower_.flag(key) == value;
  }
  void require_of_model(std::string_view key, bool value) {
    complete_ = complete_ && model_.flag(key) == value;
  }
  [[nodiscard]] bool complete() const noexcept { return complete_; }

  const CheckedSize hidden;  ///< Of the decoder.

 private:
  CheckedSize number(const std::optional<std::uint64_t>& stated) {
    complete_ = complete_ && stated;
    return stated.value_or(0);
  }

  const Figures& model_;
  const Figures tower_;
  bool complete_ = true;
};

CheckedSize linear(const CheckedSize& in, const CheckedSize& out) { return in * out + out; }

/// The norms, attention and feed-forward part of a layer with biases.
CheckedSize plain_layer(const CheckedSize& width, const CheckedSize& ffn) {
  return width * 4 + linear(width, width) * 4 + linear(width, ffn) + linear(ffn, width);
}

CheckedSize siglip(TowerFigures& tower, const CheckedSize& positions) {
  const CheckedSize width = tower["hidden_size"];
  const CheckedSize patch = tower["patch_size"];
  tower.require("vision_use_head", false);
  return linear(tower.channels() * patch * patch, width) + positions * width +
         tower["num_hidden_layers"] * plain_layer(width, tower["intermediate_size"]) + width * 2;
}

// Source of each tower: its class in transformers.
CheckedSize tower_of_gemma3(TowerFigures& tower) {
  const CheckedSize width = tower["hidden_size"];
  return siglip(tower, tower.positions_of_image()) + width * tower.hidden + width;
}

CheckedSize tower_of_lfm2(TowerFigures& tower) {
  const CheckedSize step = tower.of_model("downsample_factor");
  const CheckedSize merged = tower["hidden_size"] * step * step;
  const CheckedSize between = tower.of_model("projector_hidden_size");
  tower.require_of_model("projector_bias", true);
  tower.require_of_model("projector_use_layernorm", false);
  return siglip(tower, tower["num_patches"]) + linear(merged, between) +
         linear(between, tower.hidden);
}

/// Merges patches and brings them to the width of the decoder.
CheckedSize merger_of_qwen(TowerFigures& tower, const CheckedSize& merged) {
  return linear(merged, merged) + linear(merged, tower["out_hidden_size"]);
}

CheckedSize tower_of_qwen2(TowerFigures& tower) {
  const CheckedSize width = tower["hidden_size"];
  const CheckedSize ffn = tower["intermediate_size"];
  const CheckedSize patch = tower["patch_size"];
  const CheckedSize merge = tower["spatial_merge_size"];
  const CheckedSize layer = width * 2 + linear(width, width * 3) + linear(width, width) +
                            linear(width, ffn) * 2 + linear(ffn, width);
  return tower.channels() * tower["temporal_patch_size"] * patch * patch * width +
         tower["depth"] * layer + width + merger_of_qwen(tower, width * merge * merge);
}

CheckedSize tower_of_qwen3(TowerFigures& tower) {
  const CheckedSize width = tower["hidden_size"];
  const CheckedSize patch = tower["patch_size"];
  const CheckedSize merge = tower["spatial_merge_size"];
  const CheckedSize merged = width * merge * merge;
  const CheckedSize merger = merger_of_qwen(tower, merged);
  return linear(tower.channels() * tower["temporal_patch_size"] * patch * patch, width) +
         tower["num_position_embeddings"] * width +
         tower["depth"] * plain_layer(width, tower["intermediate_size"]) + width * 2 + merger +
         tower.length_of_list("deepstack_visual_indexes") * (merged * 2 + merger);
}

struct Tower {
  std::string_view models;  ///< Values of model_type of which a published count confirms the rule.
  CheckedSize (*parameters)(TowerFigures&);
};

constexpr Tower kTowers[] = {{"gemma3", tower_of_gemma3},
                             {"lfm2_vl", tower_of_lfm2},
                             {"qwen2_5_vl", tower_of_qwen2},
                             {"qwen3_vl qwen3_5 qwen3_5_moe", tower_of_qwen3}};

// Fields of towers that change no parameter.
constexpr std::string_view kOfNoParameter =
    "num_attention_heads num_heads window_size spatial_patch_size fullatt_block_indexes image_size";

std::optional<std::uint64_t> parameters_of(const Tower& tower, const Figures& figures,
                                           std::uint64_t hidden) {
  TowerFigures of(figures, hidden);
  const CheckedSize parameters = tower.parameters(of);
  return of.complete() ? parameters.value() : std::nullopt;
}

/// The size of what is left out: "210790400 parameters (402 MiB as bf16)". Of a quantized model it
/// is not known which of these are quantized.
std::string size_of(std::uint64_t parameters, const ModelShape& shape) {
  std::string text = count_of(parameters, "parameter");
  if (!shape.dtype || !shape.quantization.method.empty()) return text;
  const std::optional<std::uint64_t> bytes = bytes_of(*shape.dtype, parameters);
  if (!bytes) return text;
  return text + " (" + to_iec(*bytes) + " as " + std::string(to_string(*shape.dtype)) + ")";
}

void note_tower(const Figures& figures, ModelShape& shape) {
  const auto model = figures.metadata().string("model_type");
  for (const Tower& tower : kTowers) {
    if (!model || !has_word(tower.models, *model)) continue;
    // The fields of a tower whose size is not known are to be named as unused.
    if (!parameters_of(tower, figures.for_sizes(kNoSizes), shape.hidden)) return;
    const auto parameters = parameters_of(tower, figures, shape.hidden);
    figures.inside(kTower).consider(kOfNoParameter);
    assume(shape, kWeightSizes,
           "vision_config describes a tower of " + size_of(*parameters, shape) +
               ", which is not part of the weights");
  }
}

struct DraftRule {
  std::string_view models;  ///< As in `Tower`.
  std::string_view key;     ///< Of the number of draft layers.
  bool copies = false;      ///< A checkpoint has copies of embedding and head.
};

constexpr DraftRule kDraftRules[] = {
    {"deepseek_v3 glm4_moe", "num_nextn_predict_layers", true},
    {"mimo", "num_nextn_predict_layers"},
    {"qwen3_5_text qwen3_5_moe_text", "mtp_num_hidden_layers"},
};

// A draft layer is one more layer with attention. It has three norms and a projection from its two
// inputs, the embedding of the last token and the output of the layers.
std::optional<std::uint64_t> parameters_of(const DraftRule& rule, const Figures& figures,
                                           const ModelShape& shape) {
  const LayerShape* last = nullptr;
  for (const LayerShape& layer : shape.layers) {
    if (layer.attention != Attention::none) last = &layer;
  }
  if (last == nullptr || figures.says("mtp_use_dedicated_embeddings")) return std::nullopt;
  const auto layer = parameters_of_layer(figures.for_sizes(kWeightSizes), shape, *last);
  if (!layer) return std::nullopt;
  const CheckedSize hidden = shape.hidden;
  const CheckedSize copies = rule.copies ? hidden * shape.vocabulary * 2 : CheckedSize(0);
  return (hidden * hidden * 2 + hidden * 3 + copies + *layer).value();
}

void note_draft_layer(const Figures& figures, ModelShape& shape) {
  for (const DraftRule& rule : kDraftRules) {
    if (!has_word(rule.models, shape.architecture)) continue;
    // What several of them share is not confirmed.
    if (figures.for_sizes(kNoSizes).count(rule.key) != 1) return;
    const auto parameters = parameters_of(rule, figures, shape);
    if (!parameters) return;
    figures.consider(rule.key);
    assume(shape, kWeightSizes,
           std::string(rule.key) + " adds a draft layer of " + size_of(*parameters, shape) +
               ", which is not part of the weights");
  }
}

}  // namespace

void note_left_out(const Figures& figures, ModelShape& shape) {
  if (shape.parameters.empty()) return;
  note_tower(figures, shape);
  note_draft_layer(figures, shape);
}

}  // namespace tapedeck::internal
