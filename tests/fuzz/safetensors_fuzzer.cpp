// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "fuzz/planning.hpp"
#include "model/safetensors/safetensors.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  return fuzz::read_input(data, bytes, [](const std::filesystem::path& path) {
    internal::FileReader file(path);
    internal::TensorDirectoryBuilder builder;
    Metadata metadata;
    internal::read_safetensors_header(file, builder, metadata);
    Model model;  // without a config.json, so that only its tensors can be planned
    model.tensors = std::move(builder).finish();
    fuzz::check(model);
    fuzz::check_plans(model);
  });
}
