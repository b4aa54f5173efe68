#include <cstddef>
#include <cstdint>

#include "fuzz/checks.hpp"
#include "fuzz/memory_file.hpp"
#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "model/safetensors/safetensors.hpp"
#include "tapedeck/base/error.hpp"

// libFuzzer looks for this name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  static const fuzz::MemoryFile input;
  const std::filesystem::path path = input.hold(data, bytes);
  try {
    // An index names files, and of those a fuzzer has none to offer.
    if (internal::is_safetensors_index(path)) return 0;
    Model model;
    model.metadata = internal::read_json_config(path);
    model.shape = internal::config_shape(path.string(), model.metadata);
    fuzz::check(model);
  } catch (const Error&) {
    // Refused, as it should be.
  }
  return 0;
}
