// SPDX-License-Identifier: Apache-2.0
#include "model/safetensors/safetensors.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/amounts.hpp"
#include "base/printable.hpp"
#include "model/config/json_source.hpp"
#include "model/file_errors.hpp"
#include "model/tensor_names.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::size_t kMostMetadata = 1 << 16;

static_assert(static_cast<int>(DType::f4) + 1 == static_cast<int>(DType::q4_0),
              "the types of safetensors come before those of ggml");

// Accepts only the format's own spelling, which is in capitals.
std::optional<DType> dtype_of(std::string_view name) {
  const auto capital = [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  };
  for (int i = 0; i <= static_cast<int>(DType::f4); ++i) {
    const auto type = static_cast<DType>(i);
    if (std::ranges::equal(name, to_string(type), {}, {}, capital)) return type;
  }
  return std::nullopt;
}

/// Handles the events of a header: {"__metadata__": {"key": "value"}, "name": {"dtype": "F32",
/// "shape": [2, 3], "data_offsets": [0, 24]}}
class HeaderHandler final : public JsonHandler {
 public:
  HeaderHandler(FileReader& file, std::uint64_t bytes, TensorDirectoryBuilder& tensors,
                Metadata& metadata)
      : JsonHandler(file, bytes), tensors_(tensors), metadata_(metadata), header_bytes_(bytes) {}

  bool null() { return (place_ == Place::header && name_ == kMetadata) || other_value("null"); }

  bool number_unsigned(std::uint64_t value) {
    if (place_ == Place::shape) {
      if (entry_.rank == TensorEntry::kMostDimensions) {
        throw_tensor_error(FormatFault::out_of_range,
                           "has more than " + std::to_string(entry_.rank) + " dimensions");
      }
      entry_.dimensions[entry_.rank++] = value;
      return true;
    }
    if (place_ == Place::offsets) {
      if (offsets_seen_ < offsets_.size()) offsets_[offsets_seen_] = value;
      ++offsets_seen_;
      return true;
    }
    return other_value("a number");
  }

  bool string(std::string& value) {
    if (place_ == Place::metadata) {
      keep_metadata(value);
      return true;
    }
    if (others_ != 0 || !is_at(dtype)) return other_value("a string");
    const std::optional<DType> type = dtype_of(value);
    if (!type) {
      throw_tensor_error(FormatFault::unsupported, "has the unknown dtype " + printable(value));
    }
    entry_.dtype = *type;
    return true;
  }

  bool key(std::string& name) {
    if (others_ != 0) return true;
    if (place_ == Place::header) {
      described_at_ = start_of(name);
      std::swap(name_, name);
    } else {
      std::swap(field_, name);
      if (place_ == Place::tensor) see_field();
    }
    return true;
  }

  bool start_object(std::size_t /*elements*/) {
    if (place_ == Place::outside) {
      place_ = Place::header;
    } else if (place_ == Place::header && name_ == kMetadata) {
      place_ = Place::metadata;
    } else if (place_ == Place::header) {
      start_tensor();
    } else {
      start_other("an object");
    }
    return true;
  }

  bool end_object() {
    if (end_other()) return true;
    if (place_ == Place::tensor) finish_tensor();
    place_ = place_ == Place::header ? Place::outside : Place::header;
    return true;
  }

  bool start_array(std::size_t /*elements*/) {
    if (is_at(shape)) {
      place_ = Place::shape;
    } else if (is_at(offsets)) {
      place_ = Place::offsets;
    } else {
      start_other("an array");
    }
    return true;
  }

  bool end_array() {
    if (end_other()) return true;
    if (place_ == Place::offsets && offsets_seen_ != offsets_.size()) {
      throw_tensor_error(FormatFault::malformed,
                         "has " + std::to_string(offsets_seen_) + " data_offsets instead of two");
    }
    place_ = Place::tensor;
    return true;
  }

 private:
  enum class Place : std::uint8_t { outside, header, metadata, tensor, shape, offsets };
  enum Field : std::uint8_t { dtype = 1, shape = 2, offsets = 4, all = 7, unknown = 0 };

  static constexpr std::string_view kMetadata = "__metadata__";

  [[nodiscard]] Field known_field() const {
    if (field_ == "dtype") return dtype;
    if (field_ == "shape") return shape;
    return field_ == "data_offsets" ? offsets : unknown;
  }
  [[nodiscard]] bool is_at(Field field) const {
    return place_ == Place::tensor && known_field() == field;
  }

  // Unknown fields are skipped, as in the reference implementation.
  bool other_value(const char* what) override {
    if (others_ != 0 || is_at(unknown)) return true;
    throw_type_error(what);
  }
  void start_other(const char* what) {
    other_value(what);
    ++others_;
  }
  bool end_other() {
    if (others_ == 0) return false;
    --others_;
    return true;
  }

  /// Names the item that is being read, which is usually a tensor.
  [[noreturn]] void throw_tensor_error(FormatFault fault, const std::string& what) const {
    throw_field_error({file().path(), here(), name_, fault}, what);
  }
  [[noreturn]] void throw_type_error(const std::string& found) const {
    const bool whole = place_ == Place::outside || place_ == Place::header;
    throw_tensor_error(FormatFault::wrong_type,
                       whole ? "is " + found + ", not a JSON object"
                             : "has " + found + " in its " + printable(field_));
  }

  void see_field() {
    if ((seen_ & known_field()) != 0) {
      throw_tensor_error(FormatFault::contradictory, "has more than one field " + field_);
    }
    seen_ = static_cast<std::uint8_t>(seen_ | known_field());
  }

  void start_tensor() {
    place_ = Place::tensor;
    entry_ = {};
    seen_ = 0;
    offsets_seen_ = 0;
  }

  void finish_tensor() {
    if (seen_ != all) {
      throw_tensor_error(FormatFault::missing, "lacks dtype, shape or data_offsets");
    }
    entry_.name = name_;
    entry_.id = part_id_of(name_);
    entry_.offset = offsets_[0];
    entry_.bytes =
        tensors_.bytes_of_tensor(entry_, here(), TensorDirectoryBuilder::Blocks::of_the_tensor);
    if (offsets_[1] < offsets_[0] || offsets_[1] - offsets_[0] != entry_.bytes) {
      throw_tensor_error(FormatFault::contradictory,
                         "has the data_offsets " + std::to_string(offsets_[0]) + " and " +
                             std::to_string(offsets_[1]) + ", but " +
                             count_of(entry_.bytes, "byte") + " according to its dtype and shape");
    }
    // Extrapolates from the part of the header that was read.
    const std::uint64_t read = source().offset() - kLengthBytes;
    const std::uint64_t tensors = tensors_.tensors().size() + 1;
    tensors_.expect(tensors * header_bytes_ / std::max<std::uint64_t>(read, 1) + tensors / 16);
    tensors_.add(entry_, described_at_);
  }

  void keep_metadata(std::string& value) {
    if (metadata_.entries().size() >= kMostMetadata) {
      throw_tensor_error(FormatFault::out_of_range, "has too many keys");
    }
    Metadata::Value kept = Metadata::Omitted{value.size()};
    if (value.size() <= Metadata::kLongestString) kept = value;
    metadata_.add(std::string(kMetadata) + "." + field_, std::move(kept), start_of(value));
  }

  TensorDirectoryBuilder& tensors_;
  Metadata& metadata_;
  std::uint64_t header_bytes_;

  Place place_ = Place::outside;
  std::size_t others_ = 0;           // open objects and arrays inside unknown fields
  std::string name_ = "the header";  // later the name of the current tensor or __metadata__
  std::string field_;
  std::uint64_t described_at_ = 0;
  TensorEntry entry_;
  std::uint8_t seen_ = 0;
  std::array<std::uint64_t, 2> offsets_{};
  std::size_t offsets_seen_ = 0;
};

std::uint64_t read_header_length(FileReader& file) {
  const auto length = file.number<std::uint64_t>("the header's length");
  const bool allowed = length <= kMostSafetensorsHeader;
  if (allowed && length <= file.left()) return length;
  file.throw_format_error(
      {.field = "the header", .fault = allowed ? FormatFault::cut_off : FormatFault::out_of_range},
      "the header should have " + count_of(length, "byte") + ", but " +
          (allowed ? "the rest of the file has only " + count_of(file.left(), "byte")
                   : "at most " + std::to_string(kMostSafetensorsHeader) + " are allowed"),
      allowed ? kCutOff : "check that it is a safetensors file");
}

// A header without any data is good enough for planning. A file with incomplete data is broken.
void check_length(const FileReader& file, const TensorFile& of) {
  if (of.size > of.data_end) {
    file.throw_format_error({of.data_end, "the data", FormatFault::contradictory},
                            "the file continues for " + count_of(of.size - of.data_end, "byte") +
                                " after the last tensor");
  }
  if (of.size < of.data_end && of.size > of.data_begin) {
    file.throw_format_error(
        {of.size, "the data", FormatFault::cut_off},
        "the file lacks " + count_of(of.data_end - of.size, "byte") + " of its tensors", kCutOff);
  }
}

}  // namespace

void read_safetensors_header(FileReader& file, TensorDirectoryBuilder& tensors,
                             Metadata& metadata) {
  const std::uint64_t length = read_header_length(file);
  tensors.begin_file({.path = file.path(),
                      .size = file.size(),
                      .data_begin = kLengthBytes + length,
                      .stamp = file.stamp()});
  HeaderHandler handler(file, length, tensors, metadata);
  parse_json(handler);
  tensors.place_data();
  TensorFile& of = tensors.file();
  check_length(file, of);
  of.unwritten = file.unwritten(of.data_begin, of.data_end);
}

}  // namespace tapedeck::internal
