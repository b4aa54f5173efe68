// SPDX-License-Identifier: Apache-2.0
/// @file
/// What tests of limited memory fill it with.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "layout/cache_region.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/plan/plan.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {

inline constexpr std::size_t kLimit = 128_MiB;

inline void fill(std::span<std::byte> bytes) { std::memset(bytes.data(), 1, bytes.size()); }

/// Memory that Tapedeck did not map.
class OtherMemory {
 public:
  explicit OtherMemory(std::size_t bytes)
      : bytes_(static_cast<std::byte*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
               bytes) {}
  ~OtherMemory() { ::munmap(bytes_.data(), bytes_.size()); }
  OtherMemory(const OtherMemory&) = delete;
  OtherMemory& operator=(const OtherMemory&) = delete;
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

/// The history of some talks, one layer with 4 KiB for each token.
[[nodiscard]] inline Plan talks_plan(std::size_t bytes) {
  constexpr std::uint64_t kTalks = 4;
  Plan plan;
  plan.talks = kTalks;
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, bytes / kTalks / 4_KiB, 4_KiB));
  return plan;
}

/// A model with about as many bytes. The first call, before any child is forked, creates it.
[[nodiscard]] inline const std::filesystem::path& model_of(std::size_t bytes) {
  static const TempFolder folder;
  static std::map<std::size_t, std::filesystem::path> models;
  std::filesystem::path& model = models[bytes];
  if (model.empty()) {
    model = make_file(folder, std::to_string(bytes) + ".safetensors",
                      {.sizes = std::vector<std::uint64_t>(8, bytes / 8)});
    store_and_make_cold(model);
  }
  return model;
}

}  // namespace tapedeck::tests
