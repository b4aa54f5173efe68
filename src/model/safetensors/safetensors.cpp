#include "model/safetensors/safetensors.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/printable.hpp"
#include "model/config/json_source.hpp"
#include "model/tensor_names.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::size_t kMostMetadata = 1 << 16;

// The format's own spelling, and no other.
std::optional<DType> dtype_of(std::string_view name) {
  struct Spelling {
    std::string_view name;
    DType type;
  };
  static constexpr std::array kSpellings = {
      Spelling{"BF16", DType::bf16},       Spelling{"F32", DType::f32},
      Spelling{"F16", DType::f16},         Spelling{"F8_E4M3", DType::f8_e4m3},
      Spelling{"U8", DType::u8},           Spelling{"I8", DType::i8},
      Spelling{"I32", DType::i32},         Spelling{"I64", DType::i64},
      Spelling{"F8_E5M2", DType::f8_e5m2}, Spelling{"F8_E8M0", DType::f8_e8m0},
      Spelling{"F4", DType::f4},           Spelling{"F6_E2M3", DType::f6_e2m3},
      Spelling{"F6_E3M2", DType::f6_e3m2}, Spelling{"BOOL", DType::boolean},
      Spelling{"F64", DType::f64},         Spelling{"I16", DType::i16},
      Spelling{"U16", DType::u16},         Spelling{"U32", DType::u32},
      Spelling{"U64", DType::u64},         Spelling{"C64", DType::c64},
  };
  for (const Spelling& spelling : kSpellings) {
    if (spelling.name == name) return spelling.type;
  }
  return std::nullopt;
}

/// {"__metadata__": {"key": "value"}, "name": {"dtype": "F32", "shape": [2, 3],
/// "data_offsets": [0, 24]}}
class HeaderHandler : public JsonHandler {
 public:
  HeaderHandler(FileReader& file, std::uint64_t bytes, TensorDirectoryBuilder& tensors,
                Metadata& metadata)
      : JsonHandler(file, bytes), tensors_(tensors), metadata_(metadata), header_bytes_(bytes) {}

  bool null() { return place_ == Place::header && name_ == kMetadata ? true : scalar("null"); }
  bool boolean(bool /*value*/) { return scalar("a boolean"); }
  bool number_integer(std::int64_t /*value*/) { return scalar("a negative number"); }
  bool number_float(double /*value*/, const std::string& /*text*/) {
    return scalar("a number that is not whole, or is too large");
  }

  bool number_unsigned(std::uint64_t value) {
    if (place_ == Place::shape) {
      if (entry_.rank == TensorEntry::kMostDimensions) {
        refuse(printable(name_) + " has more than " + std::to_string(TensorEntry::kMostDimensions) +
               " dimensions");
      }
      entry_.dimensions[entry_.rank++] = value;
      return true;
    }
    if (place_ == Place::offsets) {
      if (offsets_seen_ == offsets_.size())
        refuse(printable(name_) + " has more than two data_offsets");
      offsets_[offsets_seen_++] = value;
      return true;
    }
    return scalar("a number");
  }

  bool string(std::string& value) {
    if (place_ == Place::metadata) {
      keep_metadata(value);
      return true;
    }
    if (others_ != 0 || place_ != Place::tensor || field_ != kDtype) return scalar("a string");
    const std::optional<DType> type = dtype_of(value);
    if (!type) refuse(printable(name_) + " has the unknown dtype " + printable(value));
    entry_.dtype = *type;
    return true;
  }

  bool key(std::string& name) {
    if (others_ != 0) return true;
    if (place_ == Place::header) {
      described_at_ = start_of(name);
      std::swap(name_, name);
    } else if (place_ == Place::tensor) {
      std::swap(field_, name);
      see_field();
    } else if (place_ == Place::metadata) {
      std::swap(field_, name);
    }
    return true;
  }

  bool start_object(std::size_t /*elements*/) {
    if (others_ != 0) {
      ++others_;
    } else if (place_ == Place::outside) {
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
    if (others_ != 0) {
      ++others_;
    } else if (place_ == Place::tensor && field_ == kShape) {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && field_ == kOffsets) {
      place_ = Place::offsets;
    } else {
      start_other("an array");
    }
    return true;
  }

  bool end_array() {
    if (end_other()) return true;
    if (place_ == Place::offsets && offsets_seen_ != offsets_.size()) {
      refuse(printable(name_) + " has no two data_offsets");
    }
    place_ = Place::tensor;
    return true;
  }

 private:
  enum class Place : std::uint8_t { outside, header, metadata, tensor, shape, offsets };
  enum Field : std::uint8_t { dtype = 1, shape = 2, offsets = 4, all = 7 };

  static constexpr std::string_view kMetadata = "__metadata__";
  static constexpr std::string_view kDtype = "dtype";
  static constexpr std::string_view kShape = "shape";
  static constexpr std::string_view kOffsets = "data_offsets";

  [[nodiscard]] bool is_known_field() const {
    return field_ == kDtype || field_ == kShape || field_ == kOffsets;
  }

  // Fields that the format does not have are read over, as the reference implementation does.
  bool scalar(const char* what) const {
    if (others_ != 0 || (place_ == Place::tensor && !is_known_field())) return true;
    refuse_value(what);
  }
  void start_other(const char* what) {
    if (place_ != Place::tensor || is_known_field()) refuse_value(what);
    ++others_;
  }
  bool end_other() {
    if (others_ == 0) return false;
    --others_;
    return true;
  }

  [[noreturn]] void refuse_value(const std::string& what) const {
    switch (place_) {
      case Place::outside:
        refuse("the header is " + what + " and no JSON object");
      case Place::header:
        refuse(printable(name_) + " is " + what + " and no JSON object");
      case Place::metadata:
        refuse("__metadata__ has " + what + " for " + printable(field_) +
               ", and only strings are allowed");
      default:
        refuse(printable(name_) + " has " + what + " in its " + printable(field_));
    }
  }

  void see_field() {
    if (!is_known_field()) return;
    const Field field = field_ == kDtype ? dtype : field_ == kShape ? shape : offsets;
    if ((seen_ & field) != 0) refuse(printable(name_) + " has two of the field " + field_);
    seen_ = static_cast<std::uint8_t>(seen_ | field);
  }

  void start_tensor() {
    place_ = Place::tensor;
    entry_ = {};
    seen_ = 0;
    offsets_seen_ = 0;
  }

  void finish_tensor() {
    if (seen_ != all) refuse(printable(name_) + " lacks one of dtype, shape and data_offsets");
    entry_.name = name_;
    entry_.id = part_id_of(name_);
    entry_.offset = offsets_[0];
    entry_.bytes = bytes_of_entry();
    if (offsets_[1] < offsets_[0] || offsets_[1] - offsets_[0] != entry_.bytes) {
      refuse(printable(name_) + " has the data_offsets " + std::to_string(offsets_[0]) + " and " +
             std::to_string(offsets_[1]) + ", and " + std::to_string(entry_.bytes) +
             " bytes by dtype and shape");
    }
    // As the header went on so far, so it may go on.
    const std::uint64_t read = source().offset() - kLengthBytes;
    const std::uint64_t tensors = tensors_.tensors().size() + 1;
    tensors_.expect(tensors * header_bytes_ / std::max<std::uint64_t>(read, 1) + tensors / 16);
    tensors_.add(entry_, described_at_);
  }

  [[nodiscard]] std::uint64_t bytes_of_entry() const {
    std::optional<std::uint64_t> elements = 1;
    for (const std::uint64_t dimension : entry_.shape()) {
      if (elements) elements = checked_mul(*elements, dimension);
    }
    if (!elements) refuse(printable(name_) + " has more elements than can be counted");
    const DTypeTraits& of = traits(entry_.dtype);
    if (*elements % of.block_elements != 0) {
      refuse(printable(name_) + " has " + std::to_string(*elements) + " elements of " +
             std::string(of.name) + ", which end inside a byte");
    }
    const std::optional<std::uint64_t> bytes = bytes_of(entry_.dtype, *elements);
    if (!bytes) refuse(printable(name_) + " has more bytes than can be counted");
    return *bytes;
  }

  void keep_metadata(std::string& value) {
    if (metadata_.entries().size() >= kMostMetadata) refuse("too many keys in __metadata__");
    const std::uint64_t at = start_of(value);
    std::string whole_key = std::string(kMetadata) + "." + field_;
    if (value.size() > Metadata::kLongestString) {
      metadata_.add(std::move(whole_key), Metadata::Omitted{value.size()}, at);
    } else {
      metadata_.add(std::move(whole_key), value, at);
    }
  }

  TensorDirectoryBuilder& tensors_;
  Metadata& metadata_;
  std::uint64_t header_bytes_;

  Place place_ = Place::outside;
  std::size_t others_ = 0;  // open objects and arrays of fields that are read over
  std::string name_;
  std::string field_;
  std::uint64_t described_at_ = 0;
  TensorEntry entry_;
  std::uint8_t seen_ = 0;
  std::array<std::uint64_t, 2> offsets_{};
  std::size_t offsets_seen_ = 0;
};

std::uint64_t read_header_length(FileReader& file) {
  const auto length = file.number<std::uint64_t>("the header's length");
  if (length > kMostSafetensorsHeader) {
    file.refuse(0,
                "a header of " + std::to_string(length) + " bytes; at most " +
                    std::to_string(kMostSafetensorsHeader) + " are allowed",
                "is it a safetensors file?");
  }
  if (length > file.left()) {
    file.refuse(0,
                "a header of " + std::to_string(length) + " bytes, and " +
                    std::to_string(file.left()) + " follow",
                kCutOff);
  }
  return length;
}

// The tensors fill the data from its first byte to its last, without holes, as tensor.rs wants it.
void place_data(const FileReader& file, TensorDirectoryBuilder& tensors) {
  TensorFile& of = tensors.file();
  std::uint64_t next = 0;
  tensors.in_order_of_data([&](const TensorEntry& tensor, std::uint64_t described_at) {
    if (tensor.offset != next) {
      file.refuse(described_at, printable(tensor.name) + " begins at " +
                                    std::to_string(tensor.offset) + " of the data, and not at " +
                                    std::to_string(next) + ", where the one before it ends");
    }
    next += tensor.bytes;
  });
  const std::optional<std::uint64_t> end = checked_add(of.data_begin, next);
  if (!end) file.refuse(kLengthBytes, "the tensors end beyond any file");
  of.data_end = *end;
  for (TensorEntry& tensor : tensors.tensors()) tensor.offset += of.data_begin;
}

// A header by itself is fine for planning; a file that lost a part of its data is a broken one.
void check_length(const FileReader& file, const TensorFile& of) {
  if (of.size > of.data_end) {
    file.refuse(of.data_end, std::to_string(of.size - of.data_end) +
                                 " bytes after the last tensor that belong to none");
  }
  if (of.size < of.data_end && of.size > of.data_begin) {
    file.refuse(of.size,
                std::to_string(of.data_end - of.size) + " bytes of the tensors are missing",
                kCutOff);
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
  place_data(file, tensors);
  check_length(file, tensors.file());
}

}  // namespace tapedeck::internal
