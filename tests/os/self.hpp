// SPDX-License-Identifier: Apache-2.0
/// @file
/// What the kernel reports about this process: its mappings and its descriptors. Read here
/// independently of the library.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::tests {

#if defined(TAPEDECK_TSAN)
inline constexpr bool kThreadSanitized = true;
#else
inline constexpr bool kThreadSanitized = false;
#endif
#if defined(TAPEDECK_ASAN)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = kThreadSanitized;
#endif

/// The reason why ThreadSanitizer skips some of the longest tests.
inline constexpr const char* kOneThread = "one thread is at work here, and it would take minutes";

inline const auto kPage = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

[[nodiscard]] inline std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A number from a file in /proc: "VmLck:" of "/proc/self/status". 0 if it is missing.
[[nodiscard]] inline std::size_t number_of(const std::string& path, std::string_view key) {
  std::istringstream lines(text_of(path));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size()));
  }
  return 0;
}

/// A mapping in /proc/self/smaps.
struct Mapping {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::string access;               ///< "rw-p"
  std::set<std::string> flags{};    ///< VmFlags
  std::size_t kernel_page_kib = 0;  ///< KernelPageSize
  std::size_t anonymous_kib = 0;    ///< Anonymous
};

[[nodiscard]] inline bool is_mapping_head(const std::string& line) {
  const std::size_t dash = line.find('-');
  return dash != std::string::npos && dash != 0 &&
         line.find_first_not_of("0123456789abcdef") == dash;
}

[[nodiscard]] inline Mapping read_mapping_head(const std::string& line) {
  const std::size_t dash = line.find('-');
  const std::size_t space = line.find(' ');
  return {.begin = std::stoull(line.substr(0, dash), nullptr, 16),
          .end = std::stoull(line.substr(dash + 1, space - dash - 1), nullptr, 16),
          .access = line.substr(space + 1, 4)};
}

/// The mappings that contain bytes of the range.
[[nodiscard]] inline std::vector<Mapping> mappings_in(const std::byte* at, std::size_t bytes) {
  const auto from = reinterpret_cast<std::uintptr_t>(at);
  std::vector<Mapping> all;
  std::istringstream lines(text_of("/proc/self/smaps"));
  for (std::string line; std::getline(lines, line);) {
    if (is_mapping_head(line)) {
      all.push_back(read_mapping_head(line));
    } else if (line.starts_with("VmFlags:")) {
      std::istringstream words(line.substr(8));
      all.back().flags = {std::istream_iterator<std::string>(words), {}};
    } else if (line.starts_with("KernelPageSize:")) {
      all.back().kernel_page_kib = std::stoull(line.substr(15));
    } else if (line.starts_with("Anonymous:")) {
      all.back().anonymous_kib = std::stoull(line.substr(10));
    }
  }
  std::erase_if(all,
                [&](const Mapping& one) { return one.end <= from || from + bytes <= one.begin; });
  return all;
}

/// The access that a byte allows, in the format of /proc/self/smaps: "rw-p". "none" if it is not
/// mapped.
[[nodiscard]] inline std::string access_of(const std::byte* at) {
  const std::vector<Mapping> all = mappings_in(at, 1);
  return all.empty() ? "none" : all.front().access;
}

/// Whether a page's addresses are in use, even without access, so that they cannot be mapped.
[[nodiscard]] inline bool is_taken(std::byte* page) {
  void* at =
      ::mmap(page, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at == MAP_FAILED) return true;
  ::munmap(at, kPage);
  return at != page;
}

/// Whether every byte of the range is mapped and every mapping in it has the flag.
[[nodiscard]] inline ::testing::AssertionResult has_flag(const std::byte* at, std::size_t bytes,
                                                         const std::string& flag) {
  const auto from = reinterpret_cast<std::uintptr_t>(at);
  std::size_t covered = 0;
  for (const Mapping& one : mappings_in(at, bytes)) {
    if (!one.flags.contains(flag)) {
      return ::testing::AssertionFailure() << one.access << " mapping without " << flag;
    }
    covered += std::min(one.end, from + bytes) - std::max(one.begin, from);
  }
  if (covered != bytes) return ::testing::AssertionFailure() << covered << " bytes are mapped";
  return ::testing::AssertionSuccess();
}

[[nodiscard]] inline bool any_has_flag(const std::byte* at, std::size_t bytes,
                                       const std::string& flag) {
  const std::vector<Mapping> all = mappings_in(at, bytes);
  return std::any_of(all.begin(), all.end(),
                     [&](const Mapping& one) { return one.flags.contains(flag); });
}

/// Everything except heap memory that a process can leak: its mappings, without heap and stack, and
/// its descriptors.
struct Holdings {
  std::multiset<std::string> mappings{};
  std::multiset<std::string> descriptors{};

  friend bool operator==(const Holdings&, const Holdings&) = default;
};

[[nodiscard]] inline std::multiset<std::string> open_descriptors() {
  std::multiset<std::string> all;
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return all;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string name = entry->d_name;
    if (!name.starts_with('.') && name != std::to_string(::dirfd(folder))) all.insert(name);
  }
  ::closedir(folder);
  return all;
}

/// A sanitizer maps memory of its own at any time, so its builds compare only descriptors.
[[nodiscard]] inline Holdings holdings() {
  Holdings all = {.descriptors = open_descriptors()};
  if (kSanitized) return all;
  std::ifstream lines("/proc/self/maps");
  for (std::string line; std::getline(lines, line);) {
    if (!line.ends_with("[heap]") && !line.ends_with("[stack]")) all.mappings.insert(line);
  }
  return all;
}

[[nodiscard]] inline std::string difference(const std::multiset<std::string>& a,
                                            const std::multiset<std::string>& b) {
  std::vector<std::string> only;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(only));
  std::string text;
  for (const std::string& one : only) text += "  " + one + "\n";
  return text;
}

/// Whether the process held the same at two moments; if not, the message shows the difference.
[[nodiscard]] inline ::testing::AssertionResult same(const Holdings& before,
                                                     const Holdings& after) {
  if (before == after) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "mappings or descriptors differ:\n"
                                       << difference(before.mappings, after.mappings)
                                       << difference(before.descriptors, after.descriptors);
}

/// Expects at its end that this process holds the same as at its beginning.
class NothingLeft {
 public:
  explicit NothingLeft(const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : file_(file), line_(line) {}
  ~NothingLeft() {
    const ::testing::AssertionResult result = same(before_, holdings());
    if (!result) ADD_FAILURE_AT(file_, line_) << result.message();
  }
  NothingLeft(const NothingLeft&) = delete;
  NothingLeft& operator=(const NothingLeft&) = delete;

 private:
  const char* file_;
  int line_;
  Holdings before_ = holdings();
};

}  // namespace tapedeck::tests
