// SPDX-License-Identifier: Apache-2.0
#include "os/huge_pages.hpp"

#include <sys/prctl.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "os/pages.hpp"
#include "os/proc_text.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal::os {
namespace {

constexpr const char* kFolder = "/kernel/mm/transparent_hugepage/";

/// The word in brackets of "always [madvise] never".
std::string_view chosen(std::string_view text) {
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']');
  if (open == std::string_view::npos || close == std::string_view::npos) return {};
  return text.substr(open + 1, close - open - 1);
}

/// Since Linux 6.8, each size has a setting of its own, which may be "inherit".
std::string setting_of(const std::string& file, const std::string& sys) {
  const std::string size = std::to_string(transparent_page_size() / 1024);
  const std::string own = read_text(sys + kFolder + "hugepages-" + size + "kB/" + file);
  const std::string_view choice = chosen(own);
  if (!choice.empty() && choice != "inherit") return std::string(choice);
  return std::string(chosen(read_text(sys + kFolder + file)));
}

}  // namespace

std::size_t transparent_page_size() {
  static const std::size_t size =
      read_number(std::string("/sys") + kFolder + "hpage_pmd_size").value_or(0);
  return size;
}

std::string refusal_on_touch(TouchedMemory memory, const KernelRoots& roots) {
  if (::prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0) return "this process has them disabled";
  const char* const file = memory == TouchedMemory::shared ? "shmem_enabled" : "enabled";
  const std::string setting = setting_of(file, roots.sys);
  if (setting != "never" && setting != "deny") return {};
  return std::string("transparent_hugepage/") + file + " is " + setting;
}

std::optional<int> make_huge(std::byte* at, std::size_t bytes) {
  const std::size_t huge = transparent_page_size();
  if (huge == 0) return std::nullopt;
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  const std::uintptr_t from = round_up(begin, huge);
  const std::uintptr_t to = round_down(begin + bytes, huge);
  if (from < begin || from >= to) return std::nullopt;
  auto* const first = reinterpret_cast<std::byte*>(from);
  const auto all_are_huge = [&]() -> std::optional<bool> {
    const PageStates states = page_states(first, to - from);
    return states.huge ? std::optional(*states.huge == to - from) : std::nullopt;
  };
  const std::optional<bool> before = all_are_huge();
  if (!before || *before) return before ? std::optional(0) : std::nullopt;
  const int error = advise(first, to - from, Advice::collapse);
  if (all_are_huge().value_or(false)) return 0;
  return error != 0 ? error : EOPNOTSUPP;
}

}  // namespace tapedeck::internal::os
