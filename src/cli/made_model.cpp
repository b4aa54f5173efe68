// SPDX-License-Identifier: Apache-2.0
#include "cli/made_model.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "llama/random.hpp"
#include "llama/tokenizer.hpp"
#include "model/llama2c/llama2c.hpp"
#include "os/file.hpp"
#include "os/new_file.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
namespace {

using llama::kFirstByte;
using llama::kFirstPiece;
using llama::Random;
using llama::Shape;
using llama::TokenId;

constexpr std::size_t kChunkFloats = 262'144;

std::array<std::uint64_t, internal::kLlama2cFields.size()> fields_of(const Shape& s) {
  return {s.dim, s.ffn, s.layers, s.heads, s.kv_heads, s.vocab, s.seq_len};
}

// A negative vocabulary means that the model has a classifier of its own.
internal::Llama2cHeader header_of(const Shape& shape) {
  internal::Llama2cHeader header{};
  std::ranges::transform(fields_of(shape), header.begin(),
                         [](std::uint64_t field) { return static_cast<std::int32_t>(field); });
  if (shape.own_classifier)
    header[internal::kLlama2cVocabulary] = -header[internal::kLlama2cVocabulary];
  return header;
}

// In the order of `kLlama2cFields`.
constexpr std::array<const char*, internal::kLlama2cFields.size()> kMembers = {
    "Shape::dim",      "Shape::ffn",   "Shape::layers", "Shape::heads",
    "Shape::kv_heads", "Shape::vocab", "Shape::seq_len"};

// @param why  continues a sentence that the name of the member begins
[[noreturn]] void throw_no_model(const Shape& shape, std::size_t field, const std::string& why,
                                 std::optional<std::uint64_t> limit) {
  const std::string name = kMembers[field];
  throw InvalidArgument({.argument = name, .value = fields_of(shape)[field], .limit = limit},
                        "a model cannot be made: " + name + " " + why,
                        limit ? "use " + std::to_string(*limit) : "use another value");
}

void require_shape(const Shape& shape) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto fields = fields_of(shape);
  for (std::size_t field = 0; field < fields.size(); ++field) {
    if (fields[field] <= kMost) continue;
    throw_no_model(
        shape, field,
        "of " + std::to_string(fields[field]) + " exceeds the maximum of " + std::to_string(kMost),
        kMost);
  }
  const internal::Llama2cHeader header = header_of(shape);
  if (const auto fault = internal::find_fault(header)) {
    throw_no_model(shape, fault->field, words_of(*fault, header, kMembers), fault->limit);
  }
  if (shape.vocab < kFirstPiece) {
    throw_no_model(shape, internal::kLlama2cVocabulary,
                   "of " + std::to_string(shape.vocab) + " is below the minimum of " +
                       std::to_string(kFirstPiece) + ", which the byte tokens need",
                   kFirstPiece);
  }
}

void require_makeable(const std::filesystem::path& out, const Shape& shape) {
  require_shape(shape);
  const auto bytes = checkpoint_bytes(shape);
  if (!bytes) {
    throw InvalidArgument({.argument = "shape"},
                          "a model cannot be made: the size of its file does not fit in 64 bits",
                          "make a smaller model");
  }
  const std::filesystem::path folder = out.has_parent_path() ? out.parent_path() : ".";
  // Checked first, so that the disk does not fill up before the error.
  if (const auto free = os::free_bytes(folder); free && *bytes > *free) {
    throw SystemError(
        {.call = "write", .number = ENOSPC, .path = out.string(), .bytes = *bytes},
        "the folder has " + to_iec(*free) + " left; make a smaller model, or write it elsewhere");
  }
}

// Draws norms near 1, and matrices that preserve a mean square of 1.
void draw_weights(std::span<float> chunk, const Parameter& array, Random& random) {
  if (array.kind == ParameterKind::other) {
    std::fill(chunk.begin(), chunk.end(), 0.0F);
    return;
  }
  const bool norm = array.kind == ParameterKind::norm;
  const float middle = norm ? 1.0F : 0.0F;
  const float reach = norm ? 0.1F : std::sqrt(3.0F / static_cast<float>(array.columns));
  for (float& value : chunk) value = middle + reach * (2 * random.unit() - 1);
}

bool write_weights(internal::NewFile& file, const Shape& shape, std::uint64_t seed,
                   const std::atomic<bool>& stop) {
  static_assert(std::endian::native == std::endian::little,
                "checkpoints are written in the host's byte order");
  const internal::Llama2cHeader header = header_of(shape);
  file.write(std::as_bytes(std::span(header)));
  Random random(seed);
  std::vector<float> buffer(kChunkFloats);
  for (const Parameter& array : internal::llama2c_arrays(internal::figures_of(header_of(shape)))) {
    std::size_t left = *internal::bytes_of_array(array) / sizeof(float);
    while (left != 0) {
      if (stop.load(std::memory_order_relaxed)) return false;
      const std::span<float> chunk = std::span(buffer).first(std::min(left, buffer.size()));
      draw_weights(chunk, array, random);
      file.write(std::as_bytes(chunk));
      left -= chunk.size();
    }
  }
  return true;
}

// Returns the n-th made piece. First come all printable characters, then words of one syllable, of
// two syllables, and so on; for each length, first the words with a space in front, then those
// without. Each piece is made of earlier ones, as merging requires.
std::string made_piece(std::size_t n) {
  constexpr std::string_view consonants = "bdfghjklmnprstvz";
  constexpr std::string_view vowels = "aeiou";
  constexpr std::size_t syllables = consonants.size() * vowels.size();
  constexpr std::size_t printable = '~' - ' ' + 1;
  if (n == 0) return "\n";
  if (n <= printable) return {static_cast<char>(' ' + n - 1)};
  n -= printable + 1;
  std::size_t words = syllables;  // the number of words of this length
  std::size_t length = 1;
  while (n >= 2 * words) {
    n -= 2 * words;
    words *= syllables;
    ++length;
  }
  std::string text(n < words ? " " : "");
  for (n %= words; length != 0; --length) {
    words /= syllables;
    const std::size_t syllable = n / words;
    n %= words;
    text += consonants[syllable / vowels.size()];
    text += vowels[syllable % vowels.size()];
  }
  return text;
}

std::string piece_of(TokenId id) {
  constexpr std::array special = {"<unk>", "\n<s>\n", "\n</s>\n"};
  constexpr std::string_view digits = "0123456789ABCDEF";
  if (id < kFirstByte) return special[id];
  if (id >= kFirstPiece) return made_piece(id - kFirstPiece);
  const TokenId byte = id - kFirstByte;
  return std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">";
}

bool write_tokenizer(internal::NewFile& file, std::size_t vocab, const std::atomic<bool>& stop) {
  constexpr std::int32_t longest = 11;  // five syllables and a space: enough for 2^31 pieces
  std::vector<std::byte> buffer;
  const auto append = [&](const auto& value) {
    const auto bytes = std::as_bytes(std::span(value));
    buffer.insert(buffer.end(), bytes.begin(), bytes.end());
  };
  append(std::array{longest});
  for (TokenId id = 0; id < vocab; ++id) {
    const std::string text = piece_of(id);
    append(std::array{id < kFirstPiece ? 0.0F : -static_cast<float>(id - kFirstPiece)});
    append(std::array{static_cast<std::int32_t>(text.size())});
    append(text);
    if (buffer.size() < kChunkFloats && id + 1 < vocab) continue;
    if (stop.load(std::memory_order_relaxed)) return false;
    file.write(buffer);
    buffer.clear();
  }
  return true;
}

}  // namespace

std::filesystem::path tokenizer_beside(const std::filesystem::path& model) {
  std::filesystem::path path = model;
  path += ".tokenizer";
  return path;
}

std::optional<std::uint64_t> checkpoint_bytes(const Shape& shape) {
  std::optional<std::uint64_t> sum = sizeof(internal::Llama2cHeader);
  for (const Parameter& array : internal::llama2c_arrays(internal::figures_of(header_of(shape)))) {
    const std::optional<std::uint64_t> bytes = internal::bytes_of_array(array);
    if (sum && bytes) sum = checked_add(*sum, *bytes);
    if (!sum || !bytes) return std::nullopt;
  }
  return sum;
}

bool make_model(const std::filesystem::path& out, const Shape& shape, std::uint64_t seed,
                const std::atomic<bool>& stop) {
  require_makeable(out, shape);
  const std::filesystem::path tokenizer_path = tokenizer_beside(out);
  internal::NewFile model(out);
  internal::NewFile tokenizer(tokenizer_path);
  if (!write_tokenizer(tokenizer, shape.vocab, stop)) return false;
  if (!write_weights(model, shape, seed, stop)) return false;
  tokenizer.put_in_place();
  internal::OnFailure undo([&] { static_cast<void>(os::remove_file(tokenizer_path)); });
  model.put_in_place();
  undo.completed();
  return true;
}

}  // namespace tapedeck::cli
