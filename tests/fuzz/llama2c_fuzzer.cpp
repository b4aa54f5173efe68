// SPDX-License-Identifier: Apache-2.0
#include "fuzz/planning.hpp"
#include "model/llama2c/llama2c.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  return fuzz::read_input(data, bytes, [](const std::filesystem::path& path) {
    const Model model = internal::read_llama2c(path);
    fuzz::check(model);
    fuzz::check_plans(model);
  });
}
