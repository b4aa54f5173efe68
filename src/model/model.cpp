#include "tapedeck/model/model.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

const char* to_string(ModelFormat format) noexcept {
  switch (format) {
    case ModelFormat::gguf:
      return "gguf";
    case ModelFormat::safetensors:
      return "safetensors";
    case ModelFormat::config:
      return "config";
    case ModelFormat::llama2c:
      return "llama2c";
  }
  return "?";
}

TAPEDECK_ABI_END
}  // namespace tapedeck
