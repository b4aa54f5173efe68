// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Plan`: every byte a model will need, before anything is allocated.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/certainty.hpp"
#include "tapedeck/plan/foreign_memory.hpp"
#include "tapedeck/plan/profile.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// How the model will be run.
struct PlanOptions {
  Profile profile = native_profile();  ///< The engine whose memory is planned.
  /// Tokens of all sequences together. 0 uses the model's own context. If several sequences then
  /// divide it, a warning states the share of each.
  std::uint64_t total_context = 0;
  std::uint64_t sequences = 1;  ///< Talks held at the same time.
  /// True puts all sequences in one stream of `total_context` cells. False gives each sequence its
  /// own stream with an equal share of the cells.
  bool unified = false;
  std::uint64_t decode_batch = 1;   ///< Tokens of one decode step (`max_batch_size`).
  std::uint64_t batch = 2048;       ///< Prompt tokens submitted together.
  std::uint64_t micro_batch = 512;  ///< Prompt tokens computed together; at most `batch`.
  DType key_type = DType::f16;      ///< K cache: f32 f16 bf16 f8_e4m3 f8_e5m2 i8 q8_0 …
  DType value_type = DType::f16;    ///< V cache: the same types as `key_type`.
  bool flash_attention = true;
  bool full_window_cache = false;      ///< Windowed layers keep the full context (swa-full).
  std::uint64_t cell_rounding = 256;   ///< Cache cells are rounded up to a multiple of this.
  std::uint64_t rollback_states = 0;   ///< Extra recurrent states for rejected drafts.
  DType activation_type = DType::f16;  ///< Element type of decode and prefill buffers (native).
  /// A prefill computes logits for every token, not just for the last of each sequence (native).
  bool all_logits = false;
  /// Matrix type that replaces the model's own; norms remain f32. Use it for models without a
  /// tensor directory or for what-if estimates.
  std::optional<DType> weights_type{};
  /// Bytes of all weights, for a model whose files do not state their sizes; 0 if not given. They
  /// are planned as one region, whose parts are not known.
  std::uint64_t weights_bytes = 0;
  std::uint64_t overhead = 0;  ///< Driver context and safety margin, in bytes; not a region.
  /// What the engine's libraries take from the host outside the tapes. Nothing is assumed for
  /// libraries that are not stated.
  std::vector<ForeignMemory> foreign{};
};

/// The breakdown of a plan for people, in bytes. Apart from overhead and foreign memory, it sums up
/// regions.
struct Breakdown {
  /// Payload; `nullopt` if the sizes of the weights are unknown.
  std::optional<std::uint64_t> weights{};
  std::uint64_t kv = 0;         ///< Payload of all talks.
  std::uint64_t window = 0;     ///< Payload of all talks.
  std::uint64_t recurrent = 0;  ///< Payload of all talks.
  std::uint64_t history = 0;    ///< kv + window + recurrent.
  std::uint64_t decode = 0;     ///< Extent of the decode buffers.
  std::uint64_t prefill = 0;    ///< Extent of the packed prefill buffers.
  std::uint64_t scratch = 0;    ///< Extent of the scratch tape.
  std::uint64_t overhead = 0;   ///< `PlanOptions::overhead`.
  std::uint64_t foreign = 0;    ///< Bytes of `PlanOptions::foreign`, not its addresses.
  /// weights + history + scratch + overhead + foreign; `nullopt` if one of them is unknown.
  std::optional<std::uint64_t> total{};
};

/// The named regions of each tape, and whether they are exact. Thread-safety: a value.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const Model model = read_model("llama.gguf");  // from tapedeck::model
/// const Plan plan = make_plan(model, {.total_context = 8192});
/// std::cout << to_iec(plan.breakdown().total.value()) << '\n';
/// @endcode
struct Plan {
  std::string profile = "native";  ///< The name of the `Profile` that made the plan.
  TapePlan weights{TapeKind::weights};
  TapePlan scratch{TapeKind::scratch};
  TapePlan history{TapeKind::history};   ///< One talk's; a layout has `talks` of them.
  std::uint64_t talks = 1;               ///< Streams; 1 if unified.
  std::uint64_t context_per_talk = 0;    ///< Tokens, before rounding to cells.
  std::uint64_t overhead = 0;            ///< Bytes.
  std::vector<ForeignMemory> foreign{};  ///< As stated.
  std::string peak_stage{};  ///< Where a prefill peaks: "attention", "logits", "experts".
  /// The largest sum of live prefill bytes at any stage. No packing can need less.
  std::uint64_t prefill_lower_bound = 0;
  PlanCertainty certainty{};
  std::vector<std::string> warnings{};  ///< One for each assumption.

  /// Whether weights and history are exact to the byte.
  [[nodiscard]] bool exact() const noexcept {
    return certainty.weights == Certainty::exact && certainty.caches == Certainty::exact;
  }
  [[nodiscard]] Breakdown breakdown() const noexcept;
};

/// Plans a model without allocating any of the planned memory. O(tensors + layers).
///
/// Weights whose sizes are unknown are left out: their tape is empty, and `certainty.weights` is
/// `Certainty::unknown`, unless `PlanOptions::weights_bytes` states their size.
/// @throws InvalidArgument if the options do not suit the model: for example, if neither states a
/// context, the blocks of a cache type do not divide its rows, `weights_bytes` is given for a model
/// with tensors or together with `weights_type`, or a size overflows.
[[nodiscard]] Plan make_plan(const Model& model, const PlanOptions& options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
