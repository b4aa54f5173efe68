#include "tapedeck/model/model.hpp"

#include <array>

namespace tapedeck::inline TAPEDECK_ABI {

const char* to_string(ModelFormat format) noexcept {
  constexpr std::array names = {"gguf", "safetensors", "config", "llama2c"};
  return names[static_cast<std::size_t>(format)];
}

}  // namespace tapedeck::inline TAPEDECK_ABI
