// SPDX-License-Identifier: Apache-2.0
/// @file
/// The member definitions of `BasicTalk`, for the sources that instantiate it for one kind of
/// memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "base/on_failure.hpp"
#include "layout/layout_thread.hpp"
#include "layout/side_parts.hpp"
#include "layout/talk_core.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/talk.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

template <class Memory>
auto BasicTalk<Memory>::core() const -> Core& {
  require_open();
  return static_cast<Core&>(*head_);
}

template <class Memory>
void BasicTalk<Memory>::throw_closed(std::size_t talk) {
  throw WrongState("talk " + std::to_string(talk), ObjectState::closed,
                   "talk " + std::to_string(talk) + " was closed", "open one with open_talk()");
}

template <class Memory>
void BasicTalk<Memory>::throw_no_room(std::uint64_t tokens) {
  core().count_refusal();
  core().throw_no_room(tokens);
}

template <class Memory>
void BasicTalk<Memory>::throw_no_row(const Region& region, std::uint64_t token) const {
  const Growth& growth = side_->plan_.history.regions()[region.index].growth;
  if (growth.bytes_per_token == 0 || growth.capacity == 0) {
    throw InvalidArgument({.argument = "region"},
                          "region " + region.name + " does not grow, so it has no rows",
                          "use history_at(region), which returns all of it");
  }
  const std::uint64_t held = tokens();
  InvalidArgument::Facts facts = {.argument = "token", .value = token};
  if (held != 0) facts.limit = held - 1;
  throw InvalidArgument(std::move(facts),
                        "talk " + std::to_string(index()) + " holds " +
                            internal::count_of(held, "token") + ", numbered from 0, so region " +
                            region.name + " has no row of token " + std::to_string(token),
                        "call advance, which returns the number of the next token, before row");
}

template <class Memory>
void BasicTalk<Memory>::note_rows(std::uint64_t first) noexcept {
  core().note_rows(first);
}

template <class Memory>
void BasicTalk<Memory>::prepare(std::uint64_t tokens) {
  Core& talk = core();
  std::unique_lock growing(side_->growing_, std::defer_lock);
  side_->prepare_one(growing, talk, tokens);
  if (growing.owns_lock()) growing.unlock();
  side_->ask_ahead(talk);
}

template <class Memory>
std::size_t BasicTalk<Memory>::pages_needed(std::uint64_t tokens) const {
  const Core& talk = core();
  const std::lock_guard growing(side_->growing_);
  const std::uint64_t wanted = talk.after(tokens);
  return talk.has_room(tokens) ? 0 : talk.missing(wanted);
}

template <class Memory>
void BasicTalk<Memory>::rewind(std::uint64_t tokens) {
  const std::uint64_t held = this->tokens();
  core().keep(held - std::min(tokens, held));
}

// Clang 14 also instantiates this for the host, where it cannot be called.
template <class Memory>
void BasicTalk<Memory>::set_stream([[maybe_unused]] StreamHandle stream) requires(
    !Memory::kWritable) {
  if constexpr (!Memory::kWritable) core().set_stream(stream);
}

template <class Memory>
void BasicTalk<Memory>::clear() {
  core().clear();
}

template <class Memory>
void BasicTalk<Memory>::close() {
  Core& talk = core();
  std::uint64_t generation = generation_;
  if (!talk.generation.compare_exchange_strong(generation, generation + 1)) throw_closed(index());
  internal::OnFailure reopen([&] { talk.generation.store(generation); });
  talk.clear();
  reopen.completed();
  const std::lock_guard growing(side_->growing_);
  side_->closed_.push_back(talk.index);
}

// Clang 14 also instantiates this for devices, where it cannot be called.
template <class Memory>
WarmResult BasicTalk<Memory>::warm([[maybe_unused]] const WarmOptions& options) requires(
    Memory::kWritable) {
  WarmResult result;
  if constexpr (Memory::kWritable) result = core().warm(options);
  return result;
}

template <class Memory>
std::size_t BasicTalk<Memory>::decommit(typename Memory::After after) {
  Core& talk = core();
  const std::lock_guard growing(side_->growing_);
  side_->require_unsealed();
  side_->memory_.wait_for(after);
  return side_->give_back_room(talk);
}

template <class Memory>
TalkStat BasicTalk<Memory>::stat() const {
  return core().stat();
}

}  // namespace tapedeck::inline TAPEDECK_ABI
