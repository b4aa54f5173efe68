#include "engine/checkpoint.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <string>

#include "engine/takes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints are read as they are");

using Header = std::array<std::int32_t, 7>;
static_assert(sizeof(Header) == kHeaderBytes);

constexpr std::size_t kVocabField = 5;
constexpr std::size_t kSeqLenField = 6;

// The usual mix-ups, by the first four bytes.
std::string advice_for(std::int32_t first) {
  if (first == 0x46554747) return "this is a GGUF file; a llama2.c version 0 checkpoint is needed";
  if (first == 0x616b3432) return "this is a later llama2.c format; export it with --version 0";
  return "is it a llama2.c version 0 checkpoint?";
}

[[noreturn]] void refuse(const InputFile& file, std::size_t field, const std::string& text,
                         const Header& header) {
  throw FormatError(file.path(), field * sizeof(std::int32_t), text, advice_for(header[0]));
}

Shape shape_of(const InputFile& file, const Header& header) {
  for (std::size_t field = 0; field < header.size(); ++field) {
    if (header[field] < 0 && field != kVocabField) {
      refuse(file, field, "a negative figure in the header: " + std::to_string(header[field]),
             header);
    }
  }
  // A negative vocabulary says that the classifier is an array of its own.
  const std::int64_t vocab = header[kVocabField];
  const auto figure = [&](std::size_t field) { return static_cast<std::size_t>(header[field]); };
  const Shape shape{.dim = figure(0),
                    .ffn = figure(1),
                    .layers = figure(2),
                    .heads = figure(3),
                    .kv_heads = figure(4),
                    .vocab = static_cast<std::size_t>(vocab < 0 ? -vocab : vocab),
                    .seq_len = figure(kSeqLenField),
                    .own_classifier = vocab < 0};
  if (const auto fault = find_fault(shape)) refuse(file, fault->field, fault->text, header);
  return shape;
}

// The file has exactly the arrays its header claims.
void check_length(const InputFile& file, const Header& header, const Shape& shape) {
  const std::optional<std::size_t> bytes = file_bytes(shape);
  if (!bytes) refuse(file, 0, "the header claims more than any file holds", header);
  const std::string claim = "a model of this header has " + std::to_string(*bytes) + " bytes";
  if (file.size() > *bytes) {
    throw FormatError(file.path(), *bytes,
                      claim + ", but the file goes on to " + std::to_string(file.size()),
                      advice_for(header[0]));
  }
  std::uint64_t end = kHeaderBytes;
  for (const Tensor& tensor : tensors(shape)) {
    end += *tensor.bytes();
    if (file.size() >= end) continue;
    throw FormatError(file.path(), file.size(),
                      std::string("the file ends inside ") + tensor.name + ", and " + claim,
                      "it is cut off, or no llama2.c version 0 checkpoint");
  }
}

std::optional<LayoutSizes> sizes_of(const Shape& shape) {
  TapeMeasure weights;
  for (const Tensor& tensor : tensors(shape)) {
    if (tensor.place != nullptr) weights.add(tensor.bytes());
  }
  TapeMeasure scratch;
  static_cast<void>(take_token(scratch, shape));
  static_cast<void>(take_layer(scratch, shape, shape.seq_len));  // each layer in the same lines
  TapeMeasure row;
  static_cast<void>(take_row(row, shape));
  const auto history = row.bytes() ? checked_mul(*row.bytes(), shape.seq_len) : std::nullopt;
  if (!weights.bytes() || !scratch.bytes() || !history) return std::nullopt;
  return LayoutSizes{.weights = *weights.bytes(), .scratch = *scratch.bytes(), .history = *history};
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& path) : file_(path), shape_(), sizes_() {
  Header header{};
  file_.read(0, std::as_writable_bytes(std::span(header)), "the header");
  shape_ = shape_of(file_, header);
  check_length(file_, header, shape_);
  const std::optional<LayoutSizes> sizes = sizes_of(shape_);
  if (!sizes)
    refuse(file_, kSeqLenField, "a talk of seq_len needs more than can be addressed", header);
  sizes_ = *sizes;
}

Weights Checkpoint::load(Tape& tape) const {
  Weights weights;
  std::uint64_t offset = kHeaderBytes;
  for (const Tensor& tensor : tensors(shape_)) {
    const std::size_t bytes = *tensor.bytes();
    if (tensor.place != nullptr) {
      const std::span<float> array = tape.take<float>(bytes / sizeof(float));
      file_.read(offset, std::as_writable_bytes(array), tensor.name);
      weights.*tensor.place = array;
    }
    offset += bytes;
  }
  if (!shape_.own_classifier) weights.classifier = weights.token_embedding;
  return weights;
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
