#include "tapedeck/model/gguf_arrays.hpp"

#include <span>
#include <string>
#include <utility>

#include "model/gguf/gguf_values.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

const Metadata::Entry& entry_of(const Model& gguf, std::string_view key) {
  if (gguf.format != ModelFormat::gguf || gguf.tensors.files().empty()) {
    throw InvalidArgument(
        {.argument = "model"},
        gguf.path.string() + " is no GGUF file, so it has no array " + std::string(key));
  }
  if (const Metadata::Entry* entry = gguf.metadata.find(key)) return *entry;
  throw FormatError(gguf.path.string(), 0, "there is no " + std::string(key));
}

}  // namespace

/// Reads one array from its entry on.
class GgufArrayReader {
 public:
  GgufArrayReader(const Model& gguf, std::string_view key)
      : entry_(entry_of(gguf, key)),
        // What a split model says of itself, its first part says.
        file_(gguf.tensors.files().front().path),
        values_(file_, gguf.version) {
    file_.skip(entry_.offset, "a key");
    if (file_.text(values_.length("a key", kLongestGgufKey), "a key") != entry_.key) {
      file_.refuse(entry_.offset, entry_.key + " is not here any more",
                   "the file changed while it was read");
    }
    if (values_.type(entry_.key) != GgufType::array) refuse("array");
    type_ = values_.type(entry_.key);
  }

  GgufStrings strings() {
    if (type_ != GgufType::string) refuse("array of strings");
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
    if (type_ != GgufType::f32) refuse("array of f32");
    return numbers<float, float>();
  }

  std::vector<std::int64_t> integers() {
    switch (type_) {
      case GgufType::u8:
        return numbers<std::uint8_t, std::int64_t>();
      case GgufType::i8:
        return numbers<std::int8_t, std::int64_t>();
      case GgufType::u16:
        return numbers<std::uint16_t, std::int64_t>();
      case GgufType::i16:
        return numbers<std::int16_t, std::int64_t>();
      case GgufType::u32:
        return numbers<std::uint32_t, std::int64_t>();
      case GgufType::i32:
        return numbers<std::int32_t, std::int64_t>();
      case GgufType::u64:
        return numbers<std::uint64_t, std::int64_t>();
      case GgufType::i64:
        return numbers<std::int64_t, std::int64_t>();
      default:
        refuse("array of integers");
    }
  }

 private:
  template <class Stored, class Number>
  std::vector<Number> numbers() {
    std::vector<Number> out;
    const std::uint64_t count = values_.count("an array's length", sizeof(Stored));
    out.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = file_.offset();
      const auto number = file_.number<Stored>("an array");
      if constexpr (std::is_integral_v<Stored>) {
        if (!std::in_range<Number>(number)) {
          file_.refuse(at, entry_.key + " has " + std::to_string(number) + ", which is too large");
        }
      }
      out.push_back(static_cast<Number>(number));
    }
    return out;
  }

  [[noreturn]] void refuse(const char* wanted) const {
    file_.refuse(entry_.offset, entry_.key + " is no " + std::string(wanted));
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
