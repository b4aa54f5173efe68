// SPDX-License-Identifier: Apache-2.0
#include "weights/shared_image.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/amounts.hpp"
#include "base/json.hpp"
#include "base/printable.hpp"
#include "model/tensor_directory_builder.hpp"
#include "model/tensor_names.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::internal {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr std::uint64_t kDataAlignment = 4096;
// Enough for about 300,000 tensors. Parsing a hostile header takes about twenty times its size.
constexpr std::uint64_t kMostHeader = std::uint64_t{32} << 20;
constexpr std::size_t kDeepest = 4;                     // a number in the shape of a tensor
constexpr std::uint64_t kText = sizeof(std::uint64_t);  // the header's text follows its length

std::uint64_t bytes_of_spec(const TensorSpec& spec) {
  const std::string tensor = "tensor " + spec.name;
  if (spec.shape.size() > TensorEntry::kMostDimensions) {
    throw InvalidArgument({.argument = "TensorSpec::shape",
                           .value = spec.shape.size(),
                           .limit = TensorEntry::kMostDimensions},
                          tensor + " has more than 8 dimensions");
  }
  std::optional<std::uint64_t> elements = 1;
  for (const std::uint64_t dimension : spec.shape) {
    if (elements) elements = checked_mul(*elements, dimension);
  }
  const auto bytes = elements ? bytes_of(spec.dtype, *elements) : std::nullopt;
  if (!bytes) {
    throw InvalidArgument({.argument = "TensorSpec::shape", .value = elements},
                          tensor + " does not have a whole number of " +
                              std::string(to_string(spec.dtype)) + " blocks that fits in 64 bits");
  }
  return *bytes;
}

Json describe(const TensorSpec& spec, std::uint64_t offset) {
  return {{"name", spec.name},
          {"dtype", to_string(spec.dtype)},
          {"shape", spec.shape},
          {"offset", offset}};
}

std::string header_text(const std::string& name, const std::vector<TensorSpec>& tensors,
                        const std::vector<std::uint64_t>& offsets) {
  Json all = Json::array();
  for (std::size_t i = 0; i < tensors.size(); ++i) all.push_back(describe(tensors[i], offsets[i]));
  try {
    return Json{{"tapedeck", kFormat}, {"name", name}, {"tensors", std::move(all)}}.dump();
  } catch (const Json::type_error&) {
    throw InvalidArgument({.argument = "TensorSpec::name"},
                          "the name of a tensor is not valid UTF-8");
  }
}

void place_tensors(SharedImage& image, const std::vector<TensorSpec>& tensors,
                   std::uint64_t begin) {
  std::optional<std::uint64_t> at = begin;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    image.offsets[i] = *at;
    at = checked_add(*at, image.sizes[i]);
    if (at) at = checked_round_up(*at, kLine);
    if (!at) {
      throw InvalidArgument({.argument = "tensors"},
                            "the tensors have more bytes than 64 bits can count");
    }
  }
  image.bytes = *at;
}

[[noreturn]] void throw_image_error(FormatFault fault, const std::string& message,
                                    const std::string& tensor = {}, std::uint64_t offset = kText) {
  throw FormatError({.path = kSharedWeights, .offset = offset, .field = tensor, .fault = fault},
                    tensor.empty() ? message : "tensor " + tensor + " " + message,
                    "check that a WeightsBuilder of this version built the weights");
}

// The JSON library would also convert fractions, negative numbers and booleans, and its result for
// numbers over 64 bits is undefined.
std::uint64_t whole_number(const Json& value, const std::string& tensor) {
  if (!value.is_number_unsigned()) {
    throw_image_error(FormatFault::wrong_type, "has a number that is not an unsigned integer",
                      tensor);
  }
  return value.get<std::uint64_t>();
}

TensorEntry entry_of(const Json& tensor, std::string& name, const TensorFile& file) {
  tensor.at("name").get_to(name);
  const std::string shown = printable(name);
  TensorEntry entry = {.name = name};
  entry.id = part_id_of(name);
  const auto dtype = dtype_from_name(tensor.at("dtype").get<std::string>());
  if (!dtype) throw_image_error(FormatFault::unsupported, "has an unknown type", shown);
  entry.dtype = *dtype;
  std::vector<std::uint64_t> shape;
  for (const Json& dimension : tensor.at("shape").get_ref<const Json::array_t&>()) {
    shape.push_back(whole_number(dimension, shown));
  }
  try {
    entry.bytes = bytes_of_spec({.name = shown, .dtype = *dtype, .shape = shape});
  } catch (const InvalidArgument&) {
    throw_image_error(FormatFault::out_of_range, "has an impossible shape", shown);
  }
  std::copy(shape.begin(), shape.end(), entry.dimensions.begin());
  entry.rank = static_cast<std::uint8_t>(shape.size());
  entry.offset = whole_number(tensor.at("offset"), shown);
  if (entry.offset % kLine != 0 || entry.offset < file.data_begin || entry.offset > file.data_end ||
      entry.bytes > file.data_end - entry.offset) {
    throw_image_error(FormatFault::out_of_range, "is not inside the shared memory", shown);
  }
  return entry;
}

// Of two overlapping tensors, one would have bytes that belong to the other.
void require_apart(TensorDirectoryBuilder& builder) {
  std::uint64_t end = 0;
  builder.in_order_of_data([&](const TensorEntry& entry, std::uint64_t) {
    if (entry.bytes == 0) return;
    if (entry.offset < end) {
      throw_image_error(FormatFault::contradictory, "overlaps another tensor",
                        printable(entry.name));
    }
    end = entry.offset + entry.bytes;
  });
}

}  // namespace

SharedImage plan_shared_image(const std::string& name, const std::vector<TensorSpec>& tensors) {
  if (tensors.empty()) {
    throw InvalidArgument({.argument = "tensors", .value = 0, .limit = 1},
                          "weights need at least one tensor");
  }
  SharedImage image;
  std::set<std::string_view> names;
  for (const TensorSpec& spec : tensors) {
    if (!names.insert(spec.name).second) {
      throw InvalidArgument({.argument = "TensorSpec::name"}, "two tensors are named " + spec.name);
    }
    image.sizes.push_back(bytes_of_spec(spec));
  }
  image.offsets.assign(tensors.size(), 0);
  // The header contains the offsets, which depend on its length. Larger numbers never have fewer
  // digits, so this loop ends.
  std::uint64_t begin = 0;
  for (;;) {
    place_tensors(image, tensors, begin);
    image.header = header_text(name, tensors, image.offsets);
    const std::uint64_t needed =
        round_up(sizeof(std::uint64_t) + image.header.size(), kDataAlignment);
    if (needed <= begin) break;
    begin = needed;
  }
  const std::uint64_t length = image.header.size();
  if (length > kMostHeader) {
    throw InvalidArgument({.argument = "tensors", .value = length, .limit = kMostHeader},
                          "the names and shapes of " + count_of(tensors.size(), "tensor") +
                              " need " + to_iec(length) + ", more than the " + to_iec(kMostHeader) +
                              " that readers accept",
                          "use shorter names");
  }
  image.header.insert(0, reinterpret_cast<const char*>(&length), sizeof length);
  return image;
}

TensorDirectory read_shared_image(std::span<const std::byte> image) {
  std::uint64_t length = 0;
  if (image.size() < sizeof length) {
    throw_image_error(FormatFault::cut_off, "the memory ends before its header", {}, image.size());
  }
  std::memcpy(&length, image.data(), sizeof length);
  if (length > kMostHeader || length > image.size() - sizeof length) {
    throw_image_error(FormatFault::out_of_range,
                      "the header claims " + count_of(length, "byte") + "; the rest has " +
                          std::to_string(image.size() - sizeof length) +
                          ", and the limit is 32 MiB",
                      {}, 0);
  }
  const std::string_view text(reinterpret_cast<const char*>(image.data() + sizeof length), length);
  if (is_nested_deeper(text, kDeepest)) {
    throw_image_error(FormatFault::malformed, "the header is nested too deeply for shared weights");
  }
  TensorDirectoryBuilder builder;
  builder.begin_file({.path = "shared:",
                      .size = image.size(),
                      .data_begin = sizeof length + length,
                      .data_end = image.size(),
                      .alignment = kLine});
  try {
    const Json header = Json::parse(text);
    if (header.at("tapedeck") != kFormat) {
      throw_image_error(FormatFault::not_this_format, "the shared weights have another version");
    }
    builder.file().path += header.at("name").get<std::string>();
    for (const Json& tensor : header.at("tensors").get_ref<const Json::array_t&>()) {
      std::string name;
      builder.add(entry_of(tensor, name, builder.file()), sizeof length);
    }
  } catch (const Json::exception& error) {
    throw_image_error(FormatFault::malformed,
                      "the header is not that of shared weights: " + printable(error.what()));
  }
  require_apart(builder);
  return std::move(builder).finish();
}

}  // namespace tapedeck::internal
