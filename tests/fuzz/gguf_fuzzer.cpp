#include <cstddef>
#include <cstdint>

#include "fuzz/checks.hpp"
#include "fuzz/memory_file.hpp"
#include "model/gguf/gguf.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/gguf_arrays.hpp"

// libFuzzer looks for this name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  static const fuzz::MemoryFile input;
  const std::filesystem::path path = input.hold(data, bytes);
  try {
    const Model gguf = internal::read_gguf(path);
    fuzz::check(gguf);
    // As a tokenizer does, which stops at the first one that is refused.
    const auto tokens = read_gguf_strings(gguf, "tokenizer.ggml.tokens");
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      fuzz::require(tokens[i].size() <= tokens.bytes());
    }
    const auto scores = read_gguf_floats(gguf, "tokenizer.ggml.scores");
    const auto types = read_gguf_integers(gguf, "tokenizer.ggml.token_type");
    fuzz::require((tokens.bytes() + scores.size() * 4 + types.size()) <= bytes);
  } catch (const Error&) {
    // Refused, as it should be.
  }
  return 0;
}
