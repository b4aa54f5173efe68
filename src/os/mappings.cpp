// SPDX-License-Identifier: Apache-2.0
#include "os/mappings.hpp"

#include <algorithm>
#include <array>

#include "os/proc_text.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal::os {
namespace {

/// Removes the first word of a line and returns it.
std::string_view take_word(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(word.size() + 1, line.size()));
  return word;
}

}  // namespace

AddressRange pages_of(const std::byte* at, std::size_t bytes) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  return {round_down(begin, page_size()), round_up(begin + bytes, page_size())};
}

std::optional<Mapping> mapping_of(std::string_view line) {
  const std::string_view addresses = take_word(line);
  const std::size_t dash = addresses.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto begin = parse<std::uintptr_t>(addresses.substr(0, dash), 16);
  const auto end = parse<std::uintptr_t>(addresses.substr(dash + 1), 16);
  const std::string_view access = take_word(line);
  if (!begin || !end || access.size() != 4) return std::nullopt;
  static_cast<void>(take_word(line));  // the offset
  static_cast<void>(take_word(line));  // the device
  return Mapping{.addresses = {*begin, *end},
                 .readable = access[0] == 'r',
                 .writable = access[1] == 'w',
                 .shared = access[3] == 's',
                 .of_file = take_word(line) != "0"};
}

FlagInRange flag_in(std::span<const std::byte> range, MappingFlag flag) {
  constexpr std::array<std::string_view, 5> kWords = {" pf", " dp", " dd", " dc", " wf"};
  const std::string_view word = kWords[static_cast<std::size_t>(flag)];
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  bool overlaps = false;
  FlagInRange found = {.in_all = true};
  any_part(read_text("/proc/self/smaps"), '\n', [&](std::string_view line) {
    if (const auto mapping = mapping_of(line)) {
      overlaps = mapping->addresses.begin < begin + range.size() && begin < mapping->addresses.end;
    } else if (overlaps && line.starts_with("VmFlags:")) {
      const bool has = line.find(word) != std::string_view::npos;
      found.in_any = found.in_any || has;
      found.in_all = found.in_all && has;
    }
    return false;
  });
  return found;
}

}  // namespace tapedeck::internal::os
