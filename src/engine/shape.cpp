#include "engine/shape.hpp"

#include <limits>

#include "tapedeck/base/checked.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {
namespace {

std::string number(std::size_t n) { return std::to_string(n); }

}  // namespace

std::optional<ShapeFault> find_fault(const Shape& s) {
  constexpr std::array names = {"dim",        "hidden_dim", "n_layers", "n_heads",
                                "n_kv_heads", "vocab_size", "seq_len"};
  const std::array values = {s.dim, s.ffn, s.layers, s.heads, s.kv_heads, s.vocab, s.seq_len};
  for (std::size_t field = 0; field < names.size(); ++field) {
    if (values[field] == 0) return ShapeFault{field, std::string(names[field]) + " is 0"};
    if (values[field] > std::numeric_limits<std::int32_t>::max()) {
      return ShapeFault{field, std::string(names[field]) + " " + number(values[field]) +
                                   " does not fit in 32 bits"};
    }
  }
  if (s.dim % s.heads != 0) {
    return ShapeFault{3, "n_heads " + number(s.heads) + " does not divide dim " + number(s.dim)};
  }
  if (s.head_size() % 2 != 0) {
    return ShapeFault{3, "dim " + number(s.dim) + " / n_heads " + number(s.heads) +
                             " is odd, and rotary embedding turns pairs"};
  }
  if (s.heads % s.kv_heads != 0) {
    return ShapeFault{
        4, "n_kv_heads " + number(s.kv_heads) + " does not divide n_heads " + number(s.heads)};
  }
  return std::nullopt;
}

std::optional<std::size_t> Tensor::bytes() const noexcept {
  return checked_mul<std::size_t>(layers, rows, columns, sizeof(float));
}

std::array<Tensor, 14> tensors(const Shape& s) noexcept {
  const std::size_t n = s.layers;
  const std::size_t angles = s.head_size() / 2;
  return {{
      {"token_embedding_table", &Weights::token_embedding, 1, s.vocab, s.dim},
      {"rms_att_weight", &Weights::attention_norm, n, 1, s.dim},
      {"wq", &Weights::wq, n, s.dim, s.dim},
      {"wk", &Weights::wk, n, s.kv_dim(), s.dim},
      {"wv", &Weights::wv, n, s.kv_dim(), s.dim},
      {"wo", &Weights::wo, n, s.dim, s.dim},
      {"rms_ffn_weight", &Weights::ffn_norm, n, 1, s.dim},
      {"w1", &Weights::w1, n, s.ffn, s.dim},
      {"w2", &Weights::w2, n, s.dim, s.ffn},
      {"w3", &Weights::w3, n, s.ffn, s.dim},
      {"rms_final_weight", &Weights::final_norm, 1, 1, s.dim},
      {"freq_cis_real", nullptr, 1, s.seq_len, angles},
      {"freq_cis_imag", nullptr, 1, s.seq_len, angles},
      {"wcls", &Weights::classifier, 1, s.own_classifier ? s.vocab : 0, s.dim},
  }};
}

std::optional<std::size_t> file_bytes(const Shape& shape) noexcept {
  std::optional<std::size_t> sum = kHeaderBytes;
  for (const Tensor& tensor : tensors(shape)) {
    const std::optional<std::size_t> bytes = tensor.bytes();
    if (sum && bytes) sum = checked_add(*sum, *bytes);
    if (!sum || !bytes) return std::nullopt;
  }
  return sum;
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
