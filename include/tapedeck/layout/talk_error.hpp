// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TalkFull` and `NotPrepared`: errors of a talk that has no room for more tokens.
/// @code{.cpp}
/// using namespace tapedeck;
/// Plan plan;
/// plan.history.append({.name = "layers.0.k", .role = RegionRole::kv, .bytes = 4_MiB,
///                      .alignment = 4096, .growth = {.bytes_per_token = 1024, .capacity = 4096}});
/// Layout layout(plan, {.commit = Commit::with_talks});
/// try {
///   layout.talk(0).advance();
/// } catch (const NotPrepared& error) {
///   assert(error.needs().tokens == 1 && error.needs().room == 0);
/// }
/// @endcode
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The tokens that were requested of a talk, and the room that it has.
struct TalkNeeds {
  std::size_t talk = 0;        ///< The talk's index in the layout.
  std::uint64_t tokens = 0;    ///< Tokens requested in addition to `held`.
  std::uint64_t held = 0;      ///< Tokens that the talk holds.
  std::uint64_t room = 0;      ///< Tokens prepared in addition to `held`.
  std::uint64_t capacity = 0;  ///< Tokens that the plan has room for.
};

/// Thrown if a talk would need more tokens than the plan has room for. Retrying cannot help, even
/// if other talks end: rewind or clear this talk, or plan a longer context. Where other talks hold
/// the memory that is needed, `prepare` throws `OutOfMemory` with the limit "history_budget"
/// instead. Both have the kind `out_of_memory` and the base `std::bad_alloc`, so catch `TalkFull`
/// first. Immutable: safe to read from any thread.
class TalkFull : public internal::BadAlloc {
 public:
  explicit TalkFull(const TalkNeeds& needs);

  [[nodiscard]] std::vector<ErrorFact> facts() const override;
  [[nodiscard]] const TalkNeeds& needs() const noexcept { return needs_; }

 private:
  TalkNeeds needs_;
};

/// Thrown if a talk advances beyond its prepared room. Immutable: safe to read from any thread.
class NotPrepared : public internal::RuntimeError {
 public:
  explicit NotPrepared(const TalkNeeds& needs);

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::wrong_state; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;
  [[nodiscard]] const TalkNeeds& needs() const noexcept { return needs_; }

 private:
  TalkNeeds needs_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
