#include <algorithm>
#include <charconv>
#include <numeric>
#include <string_view>

#include "tapedeck/model/tensor_directory.hpp"
#include "tapedeck/weights/warm_job.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

// Whatever stands before or behind the layers has a name that tells.
bool comes_last(std::string_view name) {
  constexpr std::string_view kLast[] = {"output", "lm_head", "norm", "wcls", "final", "head"};
  return std::any_of(std::begin(kLast), std::end(kLast), [&](std::string_view part) {
    return name.find(part) != std::string_view::npos;
  });
}

}  // namespace

std::optional<std::uint32_t> layer_of(std::string_view tensor) noexcept {
  for (std::size_t dot = tensor.find('.'); dot != std::string_view::npos;
       dot = tensor.find('.', dot + 1)) {
    const char* const begin = tensor.data() + dot + 1;
    const char* const end = tensor.data() + tensor.size();
    std::uint32_t number = 0;
    const auto [rest, error] = std::from_chars(begin, end, number);
    if (error == std::errc{} && rest != end && *rest == '.') return number;
  }
  return std::nullopt;
}

std::vector<std::uint32_t> layer_order(const TensorDirectory& tensors) {
  const std::span<const TensorEntry> entries = tensors.entries();
  // Layer n is stage n + 1; embeddings are stage 0.
  std::vector<std::uint64_t> stages(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto layer = layer_of(entries[i].name);
    stages[i] = layer                         ? std::uint64_t{*layer} + 1
                : comes_last(entries[i].name) ? ~std::uint64_t{0}
                                              : 0;
  }
  std::vector<std::uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return stages[a] < stages[b]; });
  return order;
}

TAPEDECK_ABI_END
}  // namespace tapedeck
