// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "fuzz/checks.hpp"
#include "model/safetensors/safetensors.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  return fuzz::read_input(data, bytes, [](const std::filesystem::path& path) {
    internal::FileReader file(path);
    internal::TensorDirectoryBuilder builder;
    Metadata metadata;
    internal::read_safetensors_header(file, builder, metadata);
    fuzz::check(std::move(builder).finish());
  });
}
