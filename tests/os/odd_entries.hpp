// SPDX-License-Identifier: Apache-2.0
/// @file
/// Everything that may have a name in a folder that is open to all users.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/descriptor.hpp"

namespace tapedeck::tests {

/// Creates a file with these bytes that only its owner may access.
inline void put(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
  std::filesystem::permissions(path, std::filesystem::perms(0600));
}

/// One kind of entry. `make` returns whether it exists then, and a descriptor if the entry needs
/// one to be open.
struct OddEntry {
  struct Made {
    bool exists = false;
    internal::os::Descriptor held{};
  };
  const char* name;
  bool own;  ///< Whether it is this user's.
  Made (*make)(const std::filesystem::path& path, const std::string& good);
};

namespace odd_entry {
using Made = OddEntry::Made;
using Path = std::filesystem::path;

inline Made given_away(const Path& path) {
  return {.exists = ::lchown(path.c_str(), 65'534, 65'534) == 0};
}

inline Made socket(const Path& path, const std::string& /*good*/) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::strncpy(at.sun_path, path.c_str(), sizeof at.sun_path - 1);
  internal::os::Descriptor made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool bound = ::bind(made.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
  return {.exists = bound, .held = std::move(made)};
}

inline Made leased(const Path& path, const std::string& good) {
  put(path, good);
  internal::os::Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  // The signal that says that another process opens the file is one that is ignored by default.
  const bool held =
      ::fcntl(file.get(), F_SETSIG, SIGURG) == 0 && ::fcntl(file.get(), F_SETLEASE, F_WRLCK) == 0;
  return {.exists = held, .held = std::move(file)};
}

inline Made fifo(const Path& path, const std::string& /*good*/) {
  return {.exists = ::mkfifo(path.c_str(), 0600) == 0};
}

inline Made link_to(const Path& path, const Path& target) {
  std::filesystem::create_symlink(target, path);
  return {.exists = true};
}

inline Made file(const Path& path, std::string_view bytes) {
  put(path, bytes);
  return {.exists = true};
}
}  // namespace odd_entry

/// @see OddEntry. `good` are the bytes of a file as it should be.
[[nodiscard]] inline std::vector<OddEntry> odd_entries() {
  using namespace odd_entry;
  return {
      {"another user's file", false,
       [](const Path& path, const std::string& good) {
         put(path, good);
         return given_away(path);
       }},
      {"another user's socket", false,
       [](const Path& path, const std::string& good) {
         Made made = socket(path, good);
         made.exists = made.exists && given_away(path).exists;
         return made;
       }},
      {"another user's file with a lease", false,
       [](const Path& path, const std::string& good) {
         Made made = leased(path, good);
         made.exists = made.exists && given_away(path).exists;
         return made;
       }},
      {"another user's link to a file of this user", false,
       [](const Path& path, const std::string& good) {
         put(path.parent_path() / "target", good);
         link_to(path, "target");
         return given_away(path);
       }},
      {"link", true,
       [](const Path& path, const std::string& good) {
         put(path.parent_path() / "target", good);
         return link_to(path, "target");
       }},
      {"dangling link", true,
       [](const Path& path, const std::string&) { return link_to(path, "nothing"); }},
      {"link to itself", true,
       [](const Path& path, const std::string&) { return link_to(path, path.filename()); }},
      {"socket", true, socket},
      {"FIFO", true, fifo},
      {"file with a lease", true, leased},
      {"folder", true,
       [](const Path& path, const std::string&) {
         return Made{.exists = std::filesystem::create_directory(path)};
       }},
      {"file without permissions", true,
       [](const Path& path, const std::string&) {
         put(path, "nothing of use");
         return Made{.exists = ::chmod(path.c_str(), 0) == 0};
       }},
      {"file that others may write", true,
       [](const Path& path, const std::string& good) {
         put(path, good);
         return Made{.exists = ::chmod(path.c_str(), 0666) == 0};
       }},
      {"empty file", true, [](const Path& path, const std::string&) { return file(path, ""); }},
      {"truncated file", true,
       [](const Path& path, const std::string& good) {
         return file(path, std::string_view(good).substr(0, good.size() / 2));
       }},
      {"sparse file of 1 TiB", true,
       [](const Path& path, const std::string& good) {
         put(path, good);
         std::filesystem::resize_file(path, std::uint64_t{1} << 40);
         return Made{.exists = true};
       }},
  };
}

}  // namespace tapedeck::tests
