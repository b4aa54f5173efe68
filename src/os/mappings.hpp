// SPDX-License-Identifier: Apache-2.0
/// @file
/// The mappings of this process, as /proc/self/maps and smaps list them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

struct AddressRange {
  std::uintptr_t begin;
  std::uintptr_t end;
};

/// The addresses of the whole pages that contain a range.
[[nodiscard]] AddressRange pages_of(const std::byte* at, std::size_t bytes) noexcept;

struct Mapping {
  AddressRange addresses{};
  bool readable = false;
  bool writable = false;
  bool shared = false;
  bool of_file = false;  ///< Including memory files; otherwise it is anonymous.

  [[nodiscard]] bool contains(std::uintptr_t address) const noexcept {
    return addresses.begin <= address && address < addresses.end;
  }
};

/// Parses the first line of a mapping, "7f00a000-7f00b000 rw-p 00000000 fe:00 1234 /path";
/// `nullopt` for any other line.
[[nodiscard]] std::optional<Mapping> mapping_of(std::string_view line);

/// What /proc/self/smaps says of a mapping in its line `VmFlags:`.
enum class MappingFlag : std::uint8_t {
  of_a_device,     ///< The kernel does not manage its pages.
  droppable,       ///< The kernel may drop its pages, even if they were locked (MAP_DROPPABLE).
  not_dumped,      ///< It is left out of core dumps.
  not_forked,      ///< A child does not have it.
  zeroed_on_fork,  ///< A child finds zeros there.
};

/// Whether mappings that have bytes of a range have a flag. The kernel visits every page of the
/// process to report this.
struct FlagInRange {
  bool in_any = false;
  bool in_all = false;  ///< Also true if the flags cannot be read.
};
[[nodiscard]] FlagInRange flag_in(std::span<const std::byte> range, MappingFlag flag);

/// Whether a mapping that has bytes of the range has the flag; false if that cannot be read.
[[nodiscard]] inline bool any_mapping_has(std::span<const std::byte> range, MappingFlag flag) {
  return flag_in(range, flag).in_any;
}

}  // namespace tapedeck::internal::os
