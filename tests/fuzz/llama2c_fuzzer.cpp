#include <cstddef>
#include <cstdint>

#include "fuzz/checks.hpp"
#include "fuzz/memory_file.hpp"
#include "model/llama2c/llama2c.hpp"
#include "tapedeck/base/error.hpp"

// libFuzzer looks for this name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  static const fuzz::MemoryFile input;
  const std::filesystem::path path = input.hold(data, bytes);
  try {
    fuzz::check(internal::read_llama2c(path));
  } catch (const Error&) {
    // Refused, as it should be.
  }
  return 0;
}
