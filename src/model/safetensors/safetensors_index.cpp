#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/printable.hpp"
#include "model/config/json_source.hpp"
#include "model/safetensors/safetensors.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::string_view kWeightMap = "weight_map";

/// {"metadata": …, "weight_map": {"name": "file"}}: calls `visit(name, file, offset)`.
template <class Visit>
class IndexHandler : public JsonHandler {
 public:
  IndexHandler(FileReader& file, Visit visit) : JsonHandler(file), visit_(std::move(visit)) {}

  bool null() { return other("null"); }
  bool boolean(bool /*value*/) { return other("a boolean"); }
  bool number_integer(std::int64_t /*value*/) { return other("a number"); }
  bool number_unsigned(std::uint64_t /*value*/) { return other("a number"); }
  bool number_float(double /*value*/, const std::string& /*text*/) { return other("a number"); }
  bool string(std::string& value) {
    if (!in_map()) return other("a string");
    visit_(name_, value, start_of(value));
    return true;
  }
  bool key(std::string& name) {
    if (depth_ == 1) is_map_ = name == kWeightMap;
    if (depth_ == 2 && is_map_) std::swap(name_, name);
    return true;
  }
  bool start_object(std::size_t /*elements*/) {
    if (in_map()) refuse_value("an object");
    if (depth_ == 1 && is_map_) has_map_ = true;
    ++depth_;
    return true;
  }
  bool end_object() {
    --depth_;
    return true;
  }
  bool start_array(std::size_t /*elements*/) {
    other("an array");
    ++depth_;
    return true;
  }
  bool end_array() { return end_object(); }

  [[nodiscard]] bool has_map() const noexcept { return has_map_; }

 private:
  [[nodiscard]] bool in_map() const noexcept { return depth_ == 2 && is_map_; }
  bool other(const char* what) const {
    if (in_map() || (depth_ == 1 && is_map_)) refuse_value(what);
    return true;
  }
  [[noreturn]] void refuse_value(const std::string& what) const {
    if (depth_ == 1) refuse("weight_map is " + what + " and no JSON object");
    refuse("the file of " + printable(name_) + " is " + what + " and no name");
  }

  Visit visit_;
  std::size_t depth_ = 0;
  bool is_map_ = false;
  bool has_map_ = false;
  std::string name_;
};

template <class Visit>
void read_index(const std::filesystem::path& path, Visit visit) {
  FileReader file(path);
  IndexHandler handler(file, std::move(visit));
  parse_json(handler);
  if (!handler.has_map()) file.refuse(0, "an index without a weight_map");
}

// An index must not lead out of its folder.
void check_name(const std::string& index, const std::string& name, std::uint64_t offset) {
  const bool plain = !name.empty() && name != "." && name != ".." &&
                     name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
  if (!plain) {
    throw FormatError(index, offset,
                      "\"" + printable(name) + "\" is no plain name of a file in its folder");
  }
}

/// What an index says. Parsing it is what costs, so it is done once: its names take no more room
/// than the file does.
struct Index {
  struct Place {
    std::size_t name_end;     ///< In `names`; it begins where the one before ends.
    const std::string* file;  ///< One of `files`.
    std::uint64_t offset;     ///< In the index.
  };
  std::set<std::string> files;
  std::string names;
  std::vector<Place> places;
};

Index read_whole_index(const std::filesystem::path& path) {
  Index index;
  const std::string* last = nullptr;  // tensors of one file mostly follow one another
  read_index(path, [&](const std::string& name, const std::string& file, std::uint64_t at) {
    if (last == nullptr || file != *last) {
      check_name(path.string(), file, at);
      last = &*index.files.insert(file).first;
    }
    index.names += name;
    index.places.push_back({.name_end = index.names.size(), .file = last, .offset = at});
  });
  return index;
}

FileReader open_shard(const std::filesystem::path& path, const std::filesystem::path& index) {
  try {
    return FileReader(path);
  } catch (const SystemError& error) {
    throw SystemError({.call = error.call(), .number = error.number(), .path = error.path()},
                      index.string() + " names it: keep all files of a model in one folder");
  }
}

void check_places(const std::filesystem::path& path, const Index& index,
                  const TensorDirectory& tensors) {
  std::vector<std::string> file_names;
  for (const TensorFile& file : tensors.files()) file_names.push_back(file.path.filename());
  std::size_t begin = 0;
  for (const Index::Place& place : index.places) {
    const std::string_view name =
        std::string_view(index.names).substr(begin, place.name_end - begin);
    begin = place.name_end;
    const TensorEntry* tensor = tensors.find(name);
    if (tensor != nullptr && file_names[tensor->file] == *place.file) continue;
    throw FormatError(path.string(), place.offset,
                      printable(name) + " is not in " + printable(*place.file),
                      "are index and files of the same model?");
  }
}

/// Looks for a weight_map, as far as the text is JSON.
class KindHandler : public JsonHandler {
 public:
  explicit KindHandler(FileReader& file) : JsonHandler(file) {}

  // Some configs hold Infinity; who reads them next knows what to say of that.
  static bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                          const nlohmann::json::exception& /*error*/) {
    return false;
  }

  bool key(const std::string& name) {
    is_index_ = depth_ == 1 && name == kWeightMap;
    return !is_index_;
  }
  bool start_object(std::size_t /*elements*/) { return ++depth_ != 0; }
  bool end_object() { return --depth_ != 0; }
  bool start_array(std::size_t /*elements*/) { return ++depth_ != 0; }
  bool end_array() { return --depth_ != 0; }

  [[nodiscard]] bool is_index() const noexcept { return is_index_; }

 private:
  std::size_t depth_ = 0;
  bool is_index_ = false;
};

}  // namespace

TensorDirectory read_safetensors_index(const std::filesystem::path& path, Metadata& metadata) {
  const Index index = read_whole_index(path);
  TensorDirectoryBuilder builder;
  for (const std::string& name : index.files) {
    FileReader file = open_shard(path.parent_path() / name, path);
    read_safetensors_header(file, builder, metadata);
  }
  TensorDirectory tensors = std::move(builder).finish();
  check_places(path, index, tensors);
  return tensors;
}

bool is_safetensors_index(const std::filesystem::path& path) {
  FileReader file(path);
  KindHandler handler(file);
  parse_json(handler);
  return handler.is_index();
}

}  // namespace tapedeck::internal
