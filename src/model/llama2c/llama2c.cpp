// SPDX-License-Identifier: Apache-2.0
#include "model/llama2c/llama2c.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "model/figures.hpp"
#include "model/file_errors.hpp"
#include "model/tensor_directory_builder.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

constexpr const char* kWhichFormat = "check that it is a llama2.c version 0 checkpoint";

// Recognizes files of other formats by their first four bytes.
const char* advice_for(std::int32_t first) noexcept {
  if (first == 0x46554747) return "this is a GGUF file; a llama2.c version 0 checkpoint is needed";
  if (first == 0x616b3432) return "this is a later llama2.c format: export it with --version 0";
  return kWhichFormat;
}

// One tensor for each array: the matrices of all layers together, and vectors without a dimension
// of 1.
TensorEntry entry_of(const Parameter& array) noexcept {
  TensorEntry entry{.name = array.name, .id = array.id};
  if (array.count != 1 || array.kind == ParameterKind::matrix) {
    entry.dimensions[entry.rank++] = array.count;
  }
  if (array.rows != 1 || array.kind != ParameterKind::norm) {
    entry.dimensions[entry.rank++] = array.rows;
  }
  entry.dimensions[entry.rank++] = array.columns;
  return entry;
}

TensorDirectory directory_of(const FileReader& file, const Llama2cFigures& figures) {
  TensorDirectoryBuilder builder;
  builder.begin_file({.path = file.path(),
                      .size = file.size(),
                      .data_begin = sizeof(Llama2cHeader),
                      .alignment = sizeof(float),
                      .stamp = file.stamp()});
  std::uint64_t end = 0;  // may wrap; place_data then rejects the file
  for (const Parameter& array : llama2c_arrays(figures)) {
    TensorEntry entry = entry_of(array);
    entry.offset = end;
    entry.bytes = builder.bytes_of_tensor(entry, 0, TensorDirectoryBuilder::Blocks::of_rows);
    end += entry.bytes;
    builder.add(entry, 0);
  }
  builder.place_data();
  if (file.size() > builder.file().data_end) {
    file.throw_format_error({builder.file().data_end, "the data", FormatFault::contradictory},
                            "a model with this header ends here, but the file continues to byte " +
                                std::to_string(file.size()),
                            kWhichFormat);
  }
  TensorFile& of = builder.file();
  of.unwritten = file.unwritten(of.data_begin, of.data_end);
  return std::move(builder).finish();
}

ModelShape shape_of(const Llama2cFigures& f) {
  ModelShape shape;
  shape.architecture = "llama";
  shape.hidden = f.dim;
  shape.vocabulary = f.vocabulary;
  shape.context = f.context;
  shape.tied = !f.own_classifier;
  shape.dtype = DType::f32;
  shape.exact_weights = shape.exact_caches = true;
  shape.layers.assign(static_cast<std::size_t>(f.layers), {.attention = Attention::full,
                                                           .heads = f.heads,
                                                           .kv_heads = f.kv_heads,
                                                           .key_dim = f.head_size(),
                                                           .value_dim = f.head_size(),
                                                           .ffn = f.ffn});
  shape.parameters = llama2c_arrays(f);
  std::erase_if(shape.parameters,
                [](const Parameter& array) { return array.kind == ParameterKind::other; });
  return shape;
}

}  // namespace

Llama2cFigures figures_of(const Llama2cHeader& header) noexcept {
  const std::int64_t vocabulary = header[kLlama2cVocabulary];
  const auto figure = [&](std::size_t field) { return static_cast<std::uint64_t>(header[field]); };
  return {.dim = figure(0),
          .ffn = figure(1),
          .layers = figure(2),
          .heads = figure(3),
          .kv_heads = figure(4),
          .vocabulary = static_cast<std::uint64_t>(vocabulary < 0 ? -vocabulary : vocabulary),
          .context = figure(6),
          .own_classifier = vocabulary < 0};
}

std::optional<Llama2cFault> find_fault(const Llama2cHeader& header) noexcept {
  using enum FormatFault;
  for (std::size_t field = 0; field < header.size(); ++field) {
    if (header[field] == 0 || (header[field] < 0 && field != kLlama2cVocabulary)) {
      return Llama2cFault{field, out_of_range, "is below the minimum of", {}, 1};
    }
  }
  const Llama2cFigures f = figures_of(header);
  constexpr std::uint64_t kMost = Figures::kMostLayers;
  if (f.layers > kMost) return Llama2cFault{2, out_of_range, "exceeds the maximum of", {}, kMost};
  if (f.dim % f.heads != 0) return Llama2cFault{3, contradictory, "does not divide", 0};
  if (f.head_size() % 2 != 0)
    return Llama2cFault{3, contradictory, "gives heads of an odd size with", 0};
  if (f.heads % f.kv_heads != 0) return Llama2cFault{4, contradictory, "does not divide", 3};
  return std::nullopt;
}

std::string words_of(const Llama2cFault& fault, const Llama2cHeader& header,
                     std::span<const char* const> names) {
  const auto value = [&](std::size_t field) { return "of " + std::to_string(header[field]); };
  std::string text = value(fault.field) + " " + fault.text;
  if (fault.other) text += std::string(" ") + names[*fault.other] + " " + value(*fault.other);
  if (fault.limit) text += " " + std::to_string(*fault.limit);
  return text;
}

std::optional<std::uint64_t> bytes_of_array(const Parameter& array) noexcept {
  return checked_mul(array.count, array.rows, array.columns, std::uint64_t{sizeof(float)});
}

std::vector<Parameter> llama2c_arrays(const Llama2cFigures& f) {
  using enum ParameterKind;
  const std::uint64_t kv = f.kv_heads * f.head_size();
  const std::uint64_t angles = f.head_size() / 2;
  const auto outer = [](Part part) { return PartId{.part = part}; };
  const auto layers = [](Part part) { return PartId{.part = part, .every_layer = true}; };
  std::vector<Parameter> arrays = {
      {"token_embedding_table", embedding, 1, f.vocabulary, f.dim, outer(Part::embedding)},
      {"rms_att_weight", norm, f.layers, 1, f.dim, layers(Part::attention_norm)},
      {"wq", matrix, f.layers, f.dim, f.dim, layers(Part::query)},
      {"wk", matrix, f.layers, kv, f.dim, layers(Part::key)},
      {"wv", matrix, f.layers, kv, f.dim, layers(Part::value)},
      {"wo", matrix, f.layers, f.dim, f.dim, layers(Part::attention_output)},
      {"rms_ffn_weight", norm, f.layers, 1, f.dim, layers(Part::ffn_norm)},
      {"w1", matrix, f.layers, f.ffn, f.dim, layers(Part::gate)},
      {"w2", matrix, f.layers, f.dim, f.ffn, layers(Part::down)},
      {"w3", matrix, f.layers, f.ffn, f.dim, layers(Part::up)},
      {"rms_final_weight", norm, 1, 1, f.dim, outer(Part::final_norm)},
      {"freq_cis_real", other, 1, f.context, angles, outer(Part::other)},
      {"freq_cis_imag", other, 1, f.context, angles, outer(Part::other)},
      {"wcls", head, 1, f.vocabulary, f.dim, outer(Part::head)},
  };
  if (!f.own_classifier) arrays.pop_back();
  return arrays;
}

bool looks_like_llama2c(std::span<const std::byte> head) noexcept {
  Llama2cHeader header{};
  if (head.size() < sizeof header) return false;
  std::memcpy(header.data(), head.data(), sizeof header);
  return !find_fault(header);
}

Model read_llama2c(const std::filesystem::path& path) {
  FileReader file(path);
  Llama2cHeader header{};
  file.read(std::as_writable_bytes(std::span(header)), "the header");
  if (const std::optional<Llama2cFault> fault = find_fault(header)) {
    const std::size_t field = fault->field;
    throw_field_error({file.path(), field * sizeof header[0], kLlama2cFields[field], fault->kind},
                      words_of(*fault, header, kLlama2cFields), advice_for(header[0]));
  }
  Model model;
  model.format = ModelFormat::llama2c;
  model.path = path;
  for (std::size_t field = 0; field < kLlama2cFields.size(); ++field) {
    const std::int64_t value = header[field];
    model.metadata.add(kLlama2cFields[field],
                       static_cast<std::uint64_t>(value < 0 ? -value : value),
                       field * sizeof header[0]);
  }
  const Llama2cFigures figures = figures_of(header);
  model.tensors = directory_of(file, figures);
  model.shape = shape_of(figures);
  return model;
}

}  // namespace tapedeck::internal
