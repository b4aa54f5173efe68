// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/metadata.hpp"

#include <cmath>
#include <utility>

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

/// The entry's value; nullptr if there is no entry or its value is of another type.
template <class Value>
const Value* value_of(const Metadata::Entry* entry) noexcept {
  return entry == nullptr ? nullptr : std::get_if<Value>(&entry->value);
}

}  // namespace

bool Metadata::add(std::string key, Value value, std::uint64_t offset) {
  if (!index_.try_emplace(key, entries_.size()).second) return false;
  entries_.push_back({.key = std::move(key), .value = std::move(value), .offset = offset});
  return true;
}

const Metadata::Entry* Metadata::find(std::string_view key) const noexcept {
  const auto at = index_.find(key);
  return at == index_.end() ? nullptr : &entries_[at->second];
}

bool Metadata::has(std::string_view key) const noexcept {
  const Entry* entry = find(key);
  return entry != nullptr && !std::holds_alternative<std::monostate>(entry->value);
}

std::optional<std::uint64_t> Metadata::integer(std::string_view key) const noexcept {
  const Entry* entry = find(key);
  if (const auto* whole = value_of<std::uint64_t>(entry)) return *whole;
  const auto* real = value_of<double>(entry);
  constexpr double kEnd = 18446744073709551616.0;  // 2^64
  if (real == nullptr || !(*real >= 0 && *real < kEnd) || std::trunc(*real) != *real) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(*real);
}

std::optional<double> Metadata::real(std::string_view key) const noexcept {
  const Entry* entry = find(key);
  if (const auto* real = value_of<double>(entry)) return *real;
  if (const auto* whole = value_of<std::uint64_t>(entry)) return static_cast<double>(*whole);
  const auto* negative = value_of<std::int64_t>(entry);
  if (negative == nullptr) return std::nullopt;
  return static_cast<double>(*negative);
}

std::optional<bool> Metadata::boolean(std::string_view key) const noexcept {
  const auto* value = value_of<bool>(find(key));
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<std::string_view> Metadata::string(std::string_view key) const noexcept {
  const auto* value = value_of<std::string>(find(key));
  return value == nullptr ? std::nullopt : std::optional<std::string_view>(*value);
}

std::span<const std::int64_t> Metadata::integers(std::string_view key) const noexcept {
  const auto* values = value_of<std::vector<std::int64_t>>(find(key));
  return values == nullptr ? std::span<const std::int64_t>() : std::span(*values);
}

std::span<const std::string> Metadata::strings(std::string_view key) const noexcept {
  const auto* values = value_of<std::vector<std::string>>(find(key));
  return values == nullptr ? std::span<const std::string>() : std::span(*values);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
