// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "fuzz/checks.hpp"
#include "weights/shared_image.hpp"

namespace {

void read(std::span<const std::byte> image) {
  using namespace tapedeck;
  try {
    fuzz::check(internal::read_shared_image(image));
  } catch (const Error&) {
    // Refused, which is allowed.
  }
}

}  // namespace

// Uses the input once as it is, and once as the JSON text of an image, which random input would
// rarely form.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::span<const std::uint8_t> input(data, bytes);
  read(std::as_bytes(input));
  constexpr std::string_view kBegin = R"({"tapedeck":1,"name":"n","tensors":[{"name":")";
  std::vector<std::uint8_t> image(sizeof(std::uint64_t));
  image.insert(image.end(), kBegin.begin(), kBegin.end());
  image.insert(image.end(), input.begin(), input.end());
  const std::uint64_t length = image.size() - sizeof length;
  std::memcpy(image.data(), &length, sizeof length);
  image.resize(image.size() + 65536);
  read(std::as_bytes(std::span(image)));
  return 0;
}
