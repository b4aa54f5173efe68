#include "tapedeck/base/error.hpp"

#include <cstring>
#include <utility>

#include "tapedeck/base/bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

std::string with_advice(const std::string& message, const std::string& advice) {
  return advice.empty() ? message : message + "; " + advice;
}

std::string describe(const SystemError::Facts& facts) {
  std::string text = facts.call;
  if (!facts.path.empty()) text += " of " + facts.path;
  if (facts.offset) text += ", byte " + std::to_string(*facts.offset);
  if (facts.bytes != 0) text += " (" + to_iec(facts.bytes) + ")";
  return text + " failed: " + errno_name(facts.number) + ", " + std::strerror(facts.number);
}

std::string describe(const OutOfMemory::Facts& facts) {
  std::string needed = to_iec(facts.needed);
  std::string available = to_iec(facts.available);
  // Rounded to the same, they would say that it fits.
  if (needed == available) {
    needed = std::to_string(facts.needed) + " bytes";
    available = std::to_string(facts.available);
  }
  return facts.purpose + " needs " + needed + ", but only " + available + " are left (" +
         facts.limit + ")";
}

}  // namespace

Error::Error(const std::string& message, std::string advice)
    : std::runtime_error(with_advice(message, advice)), advice_(std::move(advice)) {}

InvalidArgument::InvalidArgument(const std::string& message, std::string advice)
    : Error(message, std::move(advice)) {}

SystemError::SystemError(Facts facts, std::string advice)
    : Error(describe(facts), std::move(advice)), facts_(std::move(facts)) {}

std::string SystemError::name() const { return errno_name(facts_.number); }

OutOfMemory::OutOfMemory(Facts facts, std::string advice)
    : Error(describe(facts), std::move(advice)), facts_(std::move(facts)) {}

FormatError::FormatError(std::string path, std::uint64_t offset, const std::string& message,
                         std::string advice)
    : Error(path + ", byte " + std::to_string(offset) + ": " + message, std::move(advice)),
      path_(std::move(path)),
      offset_(offset) {}

std::string errno_name(int number) {
  // glibc calls 0 "0".
  const char* name = number == 0 ? nullptr : strerrorname_np(number);
  return name != nullptr ? name : "errno " + std::to_string(number);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
