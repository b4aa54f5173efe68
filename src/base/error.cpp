// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/error.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/amounts.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

constexpr std::string_view kBeforeAdvice = "; ";

std::string with_advice(const std::string& message, const std::string& advice) {
  return advice.empty() ? message : message + std::string(kBeforeAdvice) + advice;
}

std::string text_of(std::optional<std::uint64_t> number) {
  return number ? std::to_string(*number) : "";
}

std::vector<ErrorFact> known(std::vector<ErrorFact> facts) {
  std::erase_if(facts, [](const ErrorFact& fact) { return fact.value.empty(); });
  return facts;
}

std::string describe(const SystemError::Facts& facts) {
  std::string text = facts.call;
  if (!facts.path.empty()) text += " of " + facts.path;
  if (facts.offset) text += ", byte " + std::to_string(*facts.offset);
  if (!facts.object.empty()) text += " for " + facts.object;
  if (facts.bytes != 0) text += " (" + to_iec(facts.bytes) + ")";
  return text + " failed: " + errno_name(facts.number) + ", " + std::strerror(facts.number);
}

std::string describe(const OutOfMemory::Facts& facts) {
  std::string needed = to_iec(facts.needed);
  std::string available = to_iec(facts.available) + " is";
  // If both round to the same text, the message would look as if the memory were enough.
  if (facts.needed > facts.available && available == needed + " is") {
    needed = internal::count_of(facts.needed, "byte");
    available = internal::count_of(facts.available, "byte") + " are";
  }
  return facts.purpose + " needs " + needed + ", but only " + available + " left" +
         (facts.limit.empty() ? "" : " (" + facts.limit + ")");
}

}  // namespace

const char* to_string(ErrorKind kind) noexcept {
  constexpr std::array names = {"invalid argument", "wrong state", "unsupported",  "format",
                                "system",           "device",      "out of memory"};
  return names[static_cast<std::size_t>(kind)];
}

const char* to_string(ObjectState state) noexcept {
  constexpr std::array names = {"empty",  "sealed", "busy",  "not resident",
                                "closed", "in use", "forked"};
  return names[static_cast<std::size_t>(state)];
}

const char* to_string(FormatFault fault) noexcept {
  constexpr std::array names = {"malformed",     "not this format", "cut off",
                                "missing",       "wrong type",      "out of range",
                                "contradictory", "unsupported",     "changed"};
  return names[static_cast<std::size_t>(fault)];
}

Error::~Error() = default;

std::string_view Error::message() const noexcept {
  const std::string_view all = what();
  const std::size_t tail = advice().empty() ? 0 : kBeforeAdvice.size() + advice().size();
  return all.substr(0, all.size() - std::min(tail, all.size()));
}

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

RuntimeError::RuntimeError(const std::string& message, std::string advice)
    : std::runtime_error(with_advice(message, advice)), advice_(std::move(advice)) {}

BadAlloc::BadAlloc(const std::string& message, std::string advice)
    : text_(with_advice(message, advice)), advice_(std::move(advice)) {}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

InvalidArgument::InvalidArgument(Facts facts, const std::string& message, std::string advice)
    : RuntimeError(message, std::move(advice)), facts_(std::move(facts)) {}

std::vector<ErrorFact> InvalidArgument::facts() const {
  return known({{"argument", facts_.argument},
                {"value", text_of(facts_.value)},
                {"limit", text_of(facts_.limit)}});
}

WrongState::WrongState(std::string object, ObjectState state, const std::string& message,
                       std::string advice)
    : RuntimeError(message, std::move(advice)), object_(std::move(object)), state_(state) {}

std::vector<ErrorFact> WrongState::facts() const {
  return known({{"object", object_}, {"state", to_string(state_)}});
}

Unsupported::Unsupported(std::string feature, const std::string& message, std::string advice)
    : RuntimeError(message, std::move(advice)), feature_(std::move(feature)) {}

std::vector<ErrorFact> Unsupported::facts() const { return known({{"feature", feature_}}); }

SystemError::SystemError(Facts facts, std::string advice)
    : RuntimeError(describe(facts), std::move(advice)), facts_(std::move(facts)) {}

std::string SystemError::name() const { return errno_name(facts_.number); }

std::vector<ErrorFact> SystemError::facts() const {
  return known({{"call", facts_.call},
                {"number", std::to_string(facts_.number)},
                {"name", name()},
                {"path", facts_.path},
                {"bytes", facts_.bytes == 0 ? "" : std::to_string(facts_.bytes)},
                {"offset", text_of(facts_.offset)},
                {"object", facts_.object}});
}

OutOfMemory::OutOfMemory(Facts facts, std::string advice)
    : OutOfMemory(std::move(facts), {}, std::move(advice)) {}

OutOfMemory::OutOfMemory(Facts facts, const std::string& before, std::string advice)
    : BadAlloc(before + describe(facts), std::move(advice)), facts_(std::move(facts)) {}

std::vector<ErrorFact> OutOfMemory::facts() const {
  return known({{"purpose", facts_.purpose},
                {"limit", facts_.limit},
                {"needed", std::to_string(facts_.needed)},
                {"available", std::to_string(facts_.available)}});
}

FormatError::FormatError(Facts facts, const std::string& message, std::string advice)
    : RuntimeError(facts.path + ", byte " + std::to_string(facts.offset) + ": " + message,
                   std::move(advice)),
      facts_(std::move(facts)) {}

std::vector<ErrorFact> FormatError::facts() const {
  return known({{"path", facts_.path},
                {"offset", std::to_string(facts_.offset)},
                {"field", facts_.field},
                {"fault", to_string(facts_.fault)}});
}

std::string errno_name(int number) {
  // glibc calls 0 "0".
  const char* name = number == 0 ? nullptr : strerrorname_np(number);
  return name != nullptr ? name : "errno " + std::to_string(number);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
