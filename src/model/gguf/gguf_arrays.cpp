// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/gguf_arrays.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "model/file_errors.hpp"
#include "model/gguf/gguf_values.hpp"
#include "os/file_reader.hpp"

namespace tapedeck::internal {
namespace {

const Metadata::Entry& entry_of(const Model& gguf, std::string_view key) {
  if (gguf.format != ModelFormat::gguf || gguf.tensors.files().empty()) {
    throw InvalidArgument(
        {.argument = "model"},
        gguf.path.string() + " is not a GGUF file, so it has no array " + std::string(key));
  }
  if (const Metadata::Entry* entry = gguf.metadata.find(key)) return *entry;
  throw FormatError({gguf.path.string(), 0, std::string(key), FormatFault::missing},
                    "the header has no key " + std::string(key));
}

}  // namespace

/// Reads one array, starting at its entry in the header.
class GgufArrayReader {
 public:
  GgufArrayReader(const Model& gguf, std::string_view key)
      : entry_(entry_of(gguf, key)),
        // The metadata of a split model is in its first part.
        file_(gguf.tensors.files().front().path),
        values_(file_, gguf.version) {
    file_.skip(entry_.offset, "a key");
    if (file_.text(values_.length("a key", kLongestGgufKey), "a key") != entry_.key) {
      throw_array_error(entry_.offset, FormatFault::changed, "is no longer at this offset",
                        "the file has changed, so read the model again");
    }
    if (values_.type(entry_.key) != GgufType::array) throw_other_type("array");
    type_ = values_.type(entry_.key);
  }

  GgufStrings strings() {
    if (type_ != GgufType::string) throw_other_type("array of strings");
    GgufStrings out;
    const std::uint64_t count = values_.strings(entry_.key);
    out.ends_.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto length = static_cast<std::size_t>(values_.length("a string"));
      const std::size_t begin = out.bytes_.size();
      out.bytes_.resize(begin + length);
      file_.read(std::as_writable_bytes(std::span(out.bytes_).subspan(begin)), "a string");
      out.ends_.push_back(out.bytes_.size());
    }
    return out;
  }

  std::vector<float> floats() {
    if (type_ != GgufType::f32) throw_other_type("array of f32");
    return numbers<float>([&] { return file_.number<float>("an array"); });
  }

  std::vector<std::int64_t> integers() {
    if (!is_integer(type_)) throw_other_type("array of integers");
    return numbers<std::int64_t>([&] {
      const std::uint64_t at = file_.offset();
      const std::optional<std::int64_t> number = values_.integer(type_, "an array");
      if (!number)
        throw_array_error(at, FormatFault::out_of_range,
                          "has a number that does not fit in an int64");
      return *number;
    });
  }

 private:
  template <class Number>
  std::vector<Number> numbers(auto read) {
    const std::uint64_t bytes = kGgufTypeBytes[static_cast<std::size_t>(type_)];
    std::vector<Number> out(static_cast<std::size_t>(values_.count("an array's length", bytes)));
    std::ranges::generate(out, read);
    return out;
  }

  [[noreturn]] void throw_array_error(std::uint64_t at, FormatFault fault, const std::string& what,
                                      std::string advice = {}) const {
    throw_field_error({file_.path(), at, entry_.key, fault}, what, std::move(advice));
  }
  [[noreturn]] void throw_other_type(const std::string& wanted) const {
    throw_array_error(entry_.offset, FormatFault::wrong_type, "is not an " + wanted);
  }

  const Metadata::Entry& entry_;
  FileReader file_;
  GgufValues values_;
  GgufType type_ = GgufType::array;
};

}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {

GgufStrings read_gguf_strings(const Model& model, std::string_view key) {
  return internal::GgufArrayReader(model, key).strings();
}

std::vector<float> read_gguf_floats(const Model& model, std::string_view key) {
  return internal::GgufArrayReader(model, key).floats();
}

std::vector<std::int64_t> read_gguf_integers(const Model& model, std::string_view key) {
  return internal::GgufArrayReader(model, key).integers();
}

}  // namespace tapedeck::inline TAPEDECK_ABI
