// SPDX-License-Identifier: Apache-2.0
#include "fuzz/planning.hpp"
#include "model/gguf/gguf.hpp"
#include "tapedeck/model/gguf_arrays.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  return fuzz::read_input(data, bytes, [bytes](const std::filesystem::path& path) {
    const Model gguf = internal::read_gguf(path);
    fuzz::check(gguf);
    fuzz::check_plans(gguf);
    // Reads arrays as a tokenizer does, which stops at the first one that is refused.
    const auto tokens = read_gguf_strings(gguf, "tokenizer.ggml.tokens");
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      fuzz::require(tokens[i].size() <= tokens.bytes());
    }
    const auto scores = read_gguf_floats(gguf, "tokenizer.ggml.scores");
    const auto types = read_gguf_integers(gguf, "tokenizer.ggml.token_type");
    fuzz::require((tokens.bytes() + scores.size() * 4 + types.size()) <= bytes);
  });
}
