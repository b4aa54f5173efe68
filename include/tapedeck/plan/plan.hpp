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
#include "tapedeck/plan/profile.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What the model is to be run with.
struct PlanOptions {
  Profile profile = native_profile();  ///< Whose memory is planned.
  /// Tokens, of all sequences together; 0: the model's own context, and where several sequences
  /// divide that, a warning says what each has.
  std::uint64_t total_context = 0;
  std::uint64_t sequences = 1;  ///< Talks held at a time.
  /// All sequences in one stream of `total_context` cells; otherwise each has a stream of its own,
  /// of an equal part.
  bool unified = false;
  std::uint64_t decode_batch = 1;   ///< Tokens of one decode step (`max_batch_size`).
  std::uint64_t batch = 2048;       ///< Tokens of a prompt handed over at a time.
  std::uint64_t micro_batch = 512;  ///< Tokens of a prompt computed at a time; at most `batch`.
  DType key_type = DType::f16;      ///< Of the K cache: f32 f16 bf16 f8_e4m3 f8_e5m2 i8 q8_0 …
  DType value_type = DType::f16;
  bool flash_attention = true;
  bool full_window_cache = false;      ///< Windowed layers keep the full context (swa-full).
  std::uint64_t cell_rounding = 256;   ///< Cells of a cache are a multiple of this.
  std::uint64_t rollback_states = 0;   ///< Recurrent states kept beside, for rejected drafts.
  DType activation_type = DType::f16;  ///< Elements of decode and prefill buffers (native).
  /// A prefill computes logits of every token, not of each sequence's last (native).
  bool all_logits = false;
  /// Of matrices, where the model's own type is not to be used; norms stay f32. Only for models
  /// without a tensor directory, or to ask "what if".
  std::optional<DType> weights_type{};
  std::uint64_t overhead = 0;  ///< Driver context, safety margin: a line of its own, no region.
};

/// The human breakdown, in bytes: sums over a plan's regions, and nothing else.
struct Breakdown {
  std::uint64_t weights = 0;  ///< Payload.
  std::uint64_t kv = 0;       ///< Payload, all talks; so for window and recurrent.
  std::uint64_t window = 0;
  std::uint64_t recurrent = 0;
  std::uint64_t history = 0;  ///< kv + window + recurrent.
  std::uint64_t decode = 0;   ///< Extent of the decode buffers.
  std::uint64_t prefill = 0;  ///< Extent of the packed prefill buffers.
  std::uint64_t scratch = 0;  ///< Extent of the scratch tape.
  std::uint64_t overhead = 0;
  std::uint64_t total = 0;  ///< weights + history + scratch + overhead.
};

/// Named regions for each tape, and how sure they are. Thread-safety: a value.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const Model model = read_model("llama.gguf");  // of tapedeck::model
/// const Plan plan = make_plan(model, {.total_context = 8192});
/// std::cout << to_iec(plan.breakdown().total) << '\n';
/// @endcode
struct Plan {
  std::string profile = "native";  ///< The name of the `Profile` that it was made with.
  TapePlan weights{TapeKind::weights};
  TapePlan scratch{TapeKind::scratch};
  TapePlan history{TapeKind::history};  ///< Of one talk; the layout has `talks` of them.
  std::uint64_t talks = 1;              ///< Streams: 1 where they are unified.
  std::uint64_t context_per_talk = 0;   ///< Tokens, before rounding to cells.
  std::uint64_t overhead = 0;           ///< Bytes.
  std::string peak_stage{};  ///< Where a prefill needs most: "attention", "logits", "experts".
  /// The largest sum of live prefill bytes at any stage: no packing can be below it.
  std::uint64_t prefill_lower_bound = 0;
  bool exact = false;                   ///< Weights and history to the byte.
  std::vector<std::string> warnings{};  ///< One for each assumption.

  [[nodiscard]] Breakdown breakdown() const noexcept;
};

/// Plans a model. Allocates nothing of what it plans. O(tensors + layers).
/// @throws InvalidArgument for options that make no sense for this model (a context of 0 where the
/// model states none, a type that does not divide its rows, figures that overflow).
[[nodiscard]] Plan make_plan(const Model& model, const PlanOptions& options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
