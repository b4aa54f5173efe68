#include "llama/shape.hpp"

#include <array>
#include <limits>

namespace tapedeck::llama {

std::optional<ShapeFault> find_fault(const Shape& s) {
  constexpr std::array names = {"dim",        "hidden_dim", "n_layers", "n_heads",
                                "n_kv_heads", "vocab_size", "seq_len"};
  const std::array values = {s.dim, s.ffn, s.layers, s.heads, s.kv_heads, s.vocab, s.seq_len};
  for (std::size_t field = 0; field < names.size(); ++field) {
    if (values[field] == 0) return ShapeFault{field, std::string(names[field]) + " is 0"};
    if (values[field] > std::numeric_limits<std::int32_t>::max()) {
      return ShapeFault{field, std::string(names[field]) + " " + std::to_string(values[field]) +
                                   " does not fit in 32 bits"};
    }
  }
  if (s.dim % s.heads != 0) {
    return ShapeFault{
        3, "n_heads " + std::to_string(s.heads) + " does not divide dim " + std::to_string(s.dim)};
  }
  if (s.key_head() % 2 != 0) {
    return ShapeFault{3, "dim " + std::to_string(s.dim) + " / n_heads " + std::to_string(s.heads) +
                             " is odd, and rotary embedding turns pairs"};
  }
  if (s.heads % s.kv_heads != 0) {
    return ShapeFault{4, "n_kv_heads " + std::to_string(s.kv_heads) + " does not divide n_heads " +
                             std::to_string(s.heads)};
  }
  return std::nullopt;
}

}  // namespace tapedeck::llama
