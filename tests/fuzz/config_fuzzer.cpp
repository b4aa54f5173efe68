// SPDX-License-Identifier: Apache-2.0
#include "fuzz/planning.hpp"
#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "model/safetensors/safetensors.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  return fuzz::read_input(data, bytes, [](const std::filesystem::path& path) {
    // An index refers to other files, which a fuzzer does not provide.
    if (internal::read_safetensors_index(path)) return;
    Model model;
    model.metadata = internal::read_json_config(path);
    model.shape = internal::config_shape(path.string(), model.metadata);
    fuzz::check(model);
    fuzz::check_plans(model);
  });
}
