// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <utility>

#include "base/printable.hpp"
#include "model/file_errors.hpp"
#include "model/gguf/gguf.hpp"
#include "model/gguf/gguf_values.hpp"
#include "model/tensor_names.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kVersionAt = 4;
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kMostKeys = 1 << 16;
constexpr std::uint64_t kLongestTensorName = 64;  // gguf.md
constexpr std::uint32_t kMostDimensions = 4;      // GGML_MAX_DIMS

class HeaderParser {
 public:
  HeaderParser(FileReader& file, TensorDirectoryBuilder& tensors)
      : file_(file), tensors_(tensors) {}

  GgufHeader parse() {
    read_version();
    const std::uint64_t tensors = values_.count("the number of tensors", kLeastTensorBytes);
    const std::uint64_t keys = values_.count("the number of keys", kLeastKeyBytes);
    if (keys > kMostKeys) {
      file_.throw_format_error({file_.offset(), "the number of keys", FormatFault::out_of_range},
                               std::to_string(keys) + " keys are too many");
    }
    // These are also the bytes of an empty file of version 3 whose version is wrong.
    if (header_.version == 1 && tensors == 0 && keys == 0) {
      throw_version_error("a file of version 1 has neither keys nor tensors", "check its version");
    }
    for (std::uint64_t i = 0; i < keys; ++i) read_pair();
    tensors_.begin_file({.path = file_.path(),
                         .size = file_.size(),
                         .alignment = read_alignment(),
                         .stamp = file_.stamp()});
    tensors_.expect(tensors);
    for (std::uint64_t i = 0; i < tensors; ++i) read_tensor();
    place_data();
    return std::move(header_);
  }

 private:
  // The minimum sizes of a pair and of a tensor, which are those of version 1.
  static constexpr std::uint64_t kLeastKeyBytes = 4 + 1 + 4 + 1;
  static constexpr std::uint64_t kLeastTensorBytes = 4 + 4 + 4 + 8;

  void read_version() {
    if (file_.number<std::uint32_t>("the magic") != kMagic) {
      file_.throw_format_error({.fault = FormatFault::not_this_format},
                               "it does not begin with GGUF", "check that it is a GGUF file");
    }
    header_.version = file_.number<std::uint32_t>("the version");
    values_ = GgufValues(file_, header_.version);
    if (header_.version >= 1 && header_.version <= 3) return;
    if ((header_.version & 0xffff) == 0 && header_.version != 0) {
      throw_version_error("the file is big-endian", "convert it to little-endian");
    }
    throw_version_error("GGUF version " + std::to_string(header_.version) +
                        " is not supported, only versions 1, 2 and 3 are");
  }

  void read_pair() {
    const std::uint64_t at = file_.offset();
    std::string key = file_.text(values_.length("a key", kLongestGgufKey), "a key");
    if (key.empty()) file_.throw_format_error({at, "a key"}, "a key is empty");
    Metadata::Value value = read_value(key);
    if (header_.metadata.add(key, std::move(value), at)) return;
    header_.warnings.push_back("the key " + printable(key) +
                               " occurs twice; its first value is used");
  }

  Metadata::Value read_value(const std::string& key) {
    const GgufType type = values_.type(key);
    switch (type) {
      case GgufType::string:
        return read_string();
      case GgufType::array:
        return read_array(key);
      case GgufType::boolean:
        return values_.integer(type, "a value") != 0;
      case GgufType::f32:
      case GgufType::f64:
        return read_real(type);
      case GgufType::u64:
        return file_.number<std::uint64_t>("a value");
      default:
        break;
    }
    const std::int64_t number = values_.integer(type, "a value").value();
    if (number < 0) return number;
    return static_cast<std::uint64_t>(number);
  }

  Metadata::Value read_string() {
    const std::uint64_t length = values_.length("a value");
    if (length <= Metadata::kLongestString) return file_.text(length, "a value");
    file_.skip(length, "a value");
    return Metadata::Omitted{length};
  }

  double read_real(GgufType type) {
    return type == GgufType::f32 ? static_cast<double>(file_.number<float>("a value"))
                                 : file_.number<double>("a value");
  }

  Metadata::Value read_array(const std::string& key) {
    const std::uint64_t at = file_.offset();
    const GgufType type = values_.type(key);
    if (type == GgufType::array) {
      throw_field_error({file_.path(), at, key, FormatFault::unsupported},
                        "is an array of arrays, which no known model has");
    }
    if (type == GgufType::string) return read_strings(key);
    const std::uint64_t bytes = kGgufTypeBytes[static_cast<std::size_t>(type)];
    const std::uint64_t count = values_.count("an array's length", bytes);
    if (count > Metadata::kLongestArray) {
      file_.skip(count * bytes, "an array");
      return Metadata::Omitted{count};
    }
    if (type != GgufType::f32 && type != GgufType::f64) return read_integers(type, count);
    std::vector<double> reals(count);
    std::ranges::generate(reals, [&] { return read_real(type); });
    return reals;
  }

  Metadata::Value read_strings(const std::string& key) {
    const std::uint64_t count = values_.strings(key);
    if (count > Metadata::kLongestStringArray) {
      const std::string what = "a string of " + printable(key);
      for (std::uint64_t i = 0; i < count; ++i) {
        file_.skip(values_.length(what.c_str()), what.c_str());
      }
      return Metadata::Omitted{count};
    }
    std::vector<std::string> strings;
    for (std::uint64_t i = 0; i < count; ++i) {
      strings.push_back(
          file_.text(values_.length("a string", Metadata::kLongestString), "a string"));
    }
    return strings;
  }

  Metadata::Value read_integers(GgufType type, std::uint64_t count) {
    std::vector<std::int64_t> values;
    bool fits = true;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::optional<std::int64_t> value = values_.integer(type, "a value");
      fits = fits && value;
      values.push_back(value.value_or(0));
    }
    if (!fits) return Metadata::Omitted{count};
    return values;
  }

  std::uint64_t read_alignment() const {
    const Metadata::Entry* entry = header_.metadata.find("general.alignment");
    if (entry == nullptr) return kDefaultAlignment;
    const auto* alignment = std::get_if<std::uint64_t>(&entry->value);
    if (alignment != nullptr && *alignment <= std::numeric_limits<std::uint32_t>::max() &&
        std::has_single_bit(*alignment)) {
      return *alignment;
    }
    throw_field_error({file_.path(), entry->offset, entry->key, FormatFault::out_of_range},
                      "is not a power of two that fits in 32 bits");
  }

  void read_tensor() {
    const std::uint64_t at = file_.offset();
    const std::string name =
        file_.text(values_.length("a tensor's name", kLongestTensorName), "a tensor's name");
    if (name.empty()) file_.throw_format_error({at, "a tensor's name"}, "a tensor has no name");
    TensorEntry entry{.name = name};
    read_dimensions(entry);
    entry.dtype = read_dtype(name);
    entry.bytes = tensors_.bytes_of_tensor(entry, at, TensorDirectoryBuilder::Blocks::of_rows);
    const std::uint64_t offset_at = file_.offset();
    entry.offset = file_.number<std::uint64_t>("a tensor's offset");
    if (entry.offset % tensors_.file().alignment != 0) {
      throw_field_error({file_.path(), offset_at, name, FormatFault::contradictory},
                        "has the offset " + std::to_string(entry.offset) +
                            ", which is not a multiple of the alignment " +
                            std::to_string(tensors_.file().alignment));
    }
    entry.id = part_id_of(entry.name);
    tensors_.add(entry, at);
  }

  void read_dimensions(TensorEntry& entry) {
    const std::uint64_t at = file_.offset();
    const auto rank = file_.number<std::uint32_t>("a tensor's dimensions");
    if (rank > kMostDimensions) {
      throw_field_error({file_.path(), at, std::string(entry.name), FormatFault::out_of_range},
                        "has " + std::to_string(rank) + " dimensions, but at most 4 are allowed");
    }
    entry.rank = static_cast<std::uint8_t>(rank);
    for (std::size_t i = rank; i-- > 0;) {
      entry.dimensions[i] = values_.size("a tensor's dimensions");
    }
  }

  DType read_dtype(const std::string& name) {
    const std::uint64_t at = file_.offset();
    const auto number = file_.number<std::uint32_t>("a tensor's type");
    if (const std::optional<DType> type = dtype_from_ggml(number)) return *type;
    throw_field_error(
        {file_.path(), at, name, FormatFault::unsupported},
        "has the type " + std::to_string(number) + ", which is unknown or no longer supported",
        "convert the model again with a current llama.cpp");
  }

  void place_data() {
    TensorFile& file = tensors_.file();
    file.data_begin = round_up(file_.offset(), file.alignment);
    tensors_.place_data();
    file.unwritten = file_.unwritten(file.data_begin, file.data_end);
    if (!tensors_.tensors().empty() && file_.size() < file.data_begin) {
      file_.throw_format_error({file_.size(), "the tensors", FormatFault::cut_off},
                               "the file ends before its tensors begin", kCutOff);
    }
  }

  [[noreturn]] void throw_version_error(const std::string& message, std::string advice = {}) const {
    file_.throw_format_error({kVersionAt, "the version", FormatFault::not_this_format}, message,
                             std::move(advice));
  }

  FileReader& file_;
  TensorDirectoryBuilder& tensors_;
  GgufValues values_{file_, 3};
  GgufHeader header_;
};

}  // namespace

GgufHeader read_gguf_header(FileReader& file, TensorDirectoryBuilder& tensors) {
  return HeaderParser(file, tensors).parse();
}

}  // namespace tapedeck::internal
