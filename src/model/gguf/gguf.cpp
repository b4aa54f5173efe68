#include "model/gguf/gguf.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "model/architectures.hpp"
#include "model/gguf/gguf_header.hpp"
#include "model/tensor_directory_builder.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

/// What a part says of its place in a split model.
struct Place {
  std::uint64_t number = 0;  ///< From 0.
  std::uint64_t count = 1;
};

std::string five_digits(std::uint64_t number) {
  const std::string digits = std::to_string(number);
  return digits.size() < 5 ? std::string(5 - digits.size(), '0') + digits : digits;
}

// "-00001-of-00003.gguf"
std::string suffix_of(const Place& place) {
  return "-" + five_digits(place.number + 1) + "-of-" + five_digits(place.count) + ".gguf";
}

std::uint64_t offset_of(const Metadata& metadata, std::string_view key) {
  const Metadata::Entry* entry = metadata.find(key);
  return entry == nullptr ? 0 : entry->offset;
}

Place place_of(const FileReader& file, const Metadata& metadata) {
  const Place place = {
      .number = metadata.integer("split.no").value_or(0),
      .count = std::max<std::uint64_t>(metadata.integer("split.count").value_or(1), 1)};
  if (place.number < place.count) return place;
  file.refuse(offset_of(metadata, "split.no"), "it says it is part " +
                                                   std::to_string(place.number + 1) + " of " +
                                                   std::to_string(place.count));
}

std::filesystem::path path_of_part(const FileReader& file, const Metadata& metadata,
                                   const Place& own, std::uint64_t number) {
  const std::string suffix = suffix_of(own);
  if (!file.path().ends_with(suffix)) {
    file.refuse(offset_of(metadata, "split.count"),
                "it is part " + std::to_string(own.number + 1) + " of " +
                    std::to_string(own.count) + ", but its name does not end in " + suffix,
                "give all parts their names back, so that each can be found from the others");
  }
  const std::string stem = file.path().substr(0, file.path().size() - suffix.size());
  return stem + suffix_of({.number = number, .count = own.count});
}

FileReader open_part(const std::filesystem::path& path, const std::string& asked,
                     const Place& place) {
  try {
    return FileReader(path);
  } catch (const SystemError& error) {
    throw SystemError({.call = error.call(), .number = error.number(), .path = error.path()},
                      "it is part " + std::to_string(place.number + 1) + " of " +
                          std::to_string(place.count) + " of the model of " + asked +
                          ": keep all parts in one folder");
  }
}

void check_part(const FileReader& file, const GgufHeader& header, const Place& expected) {
  const Place place = place_of(file, header.metadata);
  if (place.number == expected.number && place.count == expected.count) return;
  file.refuse(offset_of(header.metadata, "split.no"),
              "it says it is part " + std::to_string(place.number + 1) + " of " +
                  std::to_string(place.count) + ", and its name says part " +
                  std::to_string(expected.number + 1) + " of " + std::to_string(expected.count));
}

// Of all parts, as the first one may state it.
void check_tensor_count(const std::string& first, const Metadata& metadata, std::uint64_t tensors) {
  const std::optional<std::uint64_t> stated = metadata.integer("split.tensors.count");
  if (!stated || *stated == tensors) return;
  throw FormatError(first, offset_of(metadata, "split.tensors.count"),
                    "the model has " + std::to_string(*stated) + " tensors, and its parts have " +
                        std::to_string(tensors));
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

// All parts, from the first to the last. What the model is, the first one says.
Model read_parts(const FileReader& asked, const Metadata& metadata, const Place& own) {
  TensorDirectoryBuilder tensors;
  GgufHeader first;
  std::uint64_t count = 0;
  for (std::uint64_t number = 0; number < own.count; ++number) {
    const Place place = {.number = number, .count = own.count};
    FileReader file = open_part(path_of_part(asked, metadata, own, number), asked.path(), place);
    GgufHeader header = read_gguf_header(file, tensors);
    check_part(file, header, place);
    count += header.tensors;
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
  return model_of(path, std::move(header), std::move(tensors).finish());
}

}  // namespace tapedeck::internal
