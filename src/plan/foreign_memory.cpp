// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/foreign_memory.hpp"

#include <array>
#include <cstddef>

#include "base/amounts.hpp"
#include "base/checked_sizes.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

struct Library {
  const char* name;
  const char* unit;  // what takes the bytes and addresses
  std::uint64_t bytes;
  std::uint64_t addresses;
};

constexpr std::array<Library, 2> kLibraries = {
    {{"OpenBLAS", "calling thread", 0, 128_MiB}, {"oneDNN", "int8 execution", 1'650'000, 0}}};

}  // namespace

ForeignMemory foreign_memory(ForeignLibrary library, std::uint64_t count) {
  const Library& row = kLibraries[static_cast<std::size_t>(library)];
  const auto times_count = [&](std::uint64_t size) {
    return (internal::CheckedSize(size) * count).value_or_throw("foreign memory");
  };
  return {.name = std::string(row.name) + ", " + internal::count_of(count, row.unit),
          .bytes = times_count(row.bytes),
          .addresses = times_count(row.addresses)};
}

ForeignMemory sum_of(std::span<const ForeignMemory> foreign) noexcept {
  ForeignMemory sum;
  for (const ForeignMemory& library : foreign) {
    sum.bytes = internal::saturated_sum(sum.bytes, library.bytes);
    sum.addresses = internal::saturated_sum(sum.addresses, library.addresses);
  }
  return sum;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
