// SPDX-License-Identifier: Apache-2.0
#include "model/gguf/gguf.hpp"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "model/architectures.hpp"
#include "model/file_errors.hpp"
#include "model/part_name.hpp"
#include "model/tensor_directory_builder.hpp"

namespace tapedeck::internal {
namespace {

/// The position of a part in a split model.
struct Place {
  std::uint64_t number = 0;  ///< From 0.
  std::uint64_t count = 1;
};

// "-00001-of-00003.gguf"
std::string suffix_of(const Place& place) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "-%05" PRIu64 "-of-%05" PRIu64 ".gguf", place.number + 1,
                place.count);
  return text.data();
}

std::string words_of(const Place& place) {
  return "part " + std::to_string(place.number + 1) + " of " + std::to_string(place.count);
}

[[noreturn]] void throw_split_error(const std::string& path, const Metadata& metadata,
                                    const char* key, FormatFault fault, const std::string& message,
                                    std::string advice = {}) {
  const Metadata::Entry* entry = metadata.find(key);
  throw FormatError({path, entry == nullptr ? 0 : entry->offset, key, fault}, message,
                    std::move(advice));
}

// A part that does not state the others must not pass for a whole model.
void check_whole(const FileReader& file, const Metadata& metadata) {
  const std::optional<PartName> named = part_name(file.path());
  if (!named) return;
  throw_split_error(file.path(), metadata, "split.count", FormatFault::contradictory,
                    "the name is that of part " + std::to_string(named->number) + " of " +
                        std::to_string(named->count) +
                        ", but the header claims that this is a whole model",
                    "rename it if it is one, or download all parts again");
}

Place place_of(const FileReader& file, const Metadata& metadata) {
  const Place place = {
      .number = metadata.integer("split.no").value_or(0),
      .count = std::max<std::uint64_t>(metadata.integer("split.count").value_or(1), 1)};
  if (place.number < place.count) return place;
  throw_split_error(file.path(), metadata, "split.no", FormatFault::out_of_range,
                    "the header claims that this is " + words_of(place));
}

std::filesystem::path path_of_part(const FileReader& file, const Metadata& metadata,
                                   const Place& own, std::uint64_t number) {
  const std::string suffix = suffix_of(own);
  if (!file.path().ends_with(suffix)) {
    throw_split_error(file.path(), metadata, "split.count", FormatFault::contradictory,
                      "the file is " + words_of(own) + ", but its name does not end in " + suffix,
                      "restore the original names of all parts, so that they can be found");
  }
  const std::string stem = file.path().substr(0, file.path().size() - suffix.size());
  return stem + suffix_of({.number = number, .count = own.count});
}

void check_part(const FileReader& file, const GgufHeader& header, const Place& expected) {
  const Place place = place_of(file, header.metadata);
  if (place.number == expected.number && place.count == expected.count) return;
  throw_split_error(file.path(), header.metadata, "split.no", FormatFault::contradictory,
                    "the header claims that this is " + words_of(place) +
                        ", but the name is that of " + words_of(expected));
}

// Checks the number of tensors of all parts, which the first part may state.
void check_tensor_count(const std::string& first, const Metadata& metadata, std::uint64_t tensors) {
  const std::optional<std::uint64_t> stated = metadata.integer("split.tensors.count");
  if (!stated || *stated == tensors) return;
  throw_split_error(first, metadata, "split.tensors.count", FormatFault::contradictory,
                    "the model should have " + count_of(*stated, "tensor") +
                        ", but its parts have " + std::to_string(tensors));
}

Model model_of(const std::filesystem::path& path, GgufHeader header, TensorDirectory tensors) {
  Model model = {.format = ModelFormat::gguf,
                 .path = path,
                 .version = header.version,
                 .metadata = std::move(header.metadata),
                 .shape = {},
                 .tensors = std::move(tensors)};
  model.shape = gguf_shape(path.string(), model.metadata, model.tensors);
  TensorDirectoryBuilder::mark_draft_layers(model.tensors, model.shape);
  std::vector<std::string>& warnings = model.shape.warnings;
  warnings.insert(warnings.end(), header.warnings.begin(), header.warnings.end());
  return model;
}

// Reads all parts in order. The metadata of the first part describes the model.
Model read_parts(const FileReader& asked, const Metadata& metadata, const Place& own) {
  TensorDirectoryBuilder tensors;
  GgufHeader first;
  std::uint64_t count = 0;
  for (std::uint64_t number = 0; number < own.count; ++number) {
    const Place place = {.number = number, .count = own.count};
    FileReader file =
        open_named_file(path_of_part(asked, metadata, own, number),
                        "it is " + words_of(place) + " of the model of " + asked.path());
    GgufHeader header = read_gguf_header(file, tensors);
    check_part(file, header, place);
    count += tensors.tensors().size();
    if (number == 0) first = std::move(header);
  }
  check_tensor_count(path_of_part(asked, metadata, own, 0).string(), first.metadata, count);
  return model_of(asked.path(), std::move(first), std::move(tensors).finish());
}

}  // namespace

Model read_gguf(const std::filesystem::path& path) {
  FileReader file(path);
  TensorDirectoryBuilder tensors;
  GgufHeader header = read_gguf_header(file, tensors);
  const Place place = place_of(file, header.metadata);
  if (place.count > 1) return read_parts(file, header.metadata, place);
  check_whole(file, header.metadata);
  return model_of(path, std::move(header), std::move(tensors).finish());
}

}  // namespace tapedeck::internal
