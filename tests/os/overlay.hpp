// SPDX-License-Identifier: Apache-2.0
/// @file
/// A folder seen through an overlay, as a container sees the files of its image.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "os/child.hpp"
#include "os/temp_folder.hpp"

namespace tapedeck::tests {

/// Mounts an overlay of `lower` in a child of a test, where only that child sees it. Returns its
/// path, or "" if this process may not mount one.
[[nodiscard]] inline std::filesystem::path mount_overlay(const std::filesystem::path& lower,
                                                         const TempFolder& folder) {
  const unsigned user = ::geteuid();
  const unsigned group = ::getegid();
  if (::unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return {};
  if (user != 0) {  // it is root in a namespace of its own
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
    std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return {};
  std::filesystem::path merged = folder / "overlay";
  const std::filesystem::path empty = folder / "empty";
  std::filesystem::create_directory(merged);
  std::filesystem::create_directory(empty);
  const std::string layers = "lowerdir=" + empty.string() + ":" + lower.string();
  if (::mount("overlay", merged.c_str(), "overlay", MS_RDONLY, layers.c_str()) != 0) return {};
  return merged;
}

[[nodiscard]] inline bool may_mount_overlay() {
  const TempFolder folder;
  const TempFolder lower;
  return passes_in_child([&] { EXPECT_NE(mount_overlay(lower.path(), folder), ""); });
}

}  // namespace tapedeck::tests
