// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/printable.hpp"
#include "model/config/json_source.hpp"
#include "model/file_errors.hpp"
#include "model/safetensors/safetensors.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::string_view kWeightMap = "weight_map";

/// Handles the events of an index: {"metadata": …, "weight_map": {"name": "file"}}
class IndexHandler final : public JsonHandler {
 public:
  using JsonHandler::JsonHandler;

  bool string(std::string& value) {
    if (!in_map()) return other_value("a string");
    add_place(value);
    return true;
  }
  bool key(std::string& name) {
    if (depth_ == 1) is_map_ = name == kWeightMap;
    if (depth_ == 1 && is_map_) has_map_ = true;
    if (in_map()) std::swap(name_, name);
    return true;
  }
  bool start_object(std::size_t /*elements*/) {
    if (in_map()) throw_type_error("an object");
    return ++depth_ != 0;
  }
  bool end_object() {
    --depth_;
    return true;
  }
  bool start_array(std::size_t /*elements*/) {
    other_value("an array");
    return ++depth_ != 0;
  }
  bool end_array() { return end_object(); }

  // A config may contain Infinity, which its own reader handles.
  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::json::exception& error) {
    return has_map_ && JsonHandler::parse_error(position, token, error);
  }

  [[nodiscard]] bool has_map() const noexcept { return has_map_; }
  [[nodiscard]] SafetensorsIndex take() && { return std::move(index_); }

 private:
  [[nodiscard]] bool in_map() const noexcept { return depth_ == 2 && is_map_; }
  bool other_value(const char* what) override {
    if (in_map() || (depth_ == 1 && is_map_)) throw_type_error(what);
    return true;
  }
  [[noreturn]] void throw_type_error(const std::string& found) const {
    const bool of_map = depth_ == 1;
    throw_field_error(
        {file().path(), here(), of_map ? std::string(kWeightMap) : name_, FormatFault::wrong_type},
        "is " + found + (of_map ? ", not a JSON object" : ", not a file name"));
  }

  // An index must not refer to files outside its folder.
  void check_file_name(const std::string& file_name, std::uint64_t at) const {
    constexpr std::size_t kLongest = 255;  // NAME_MAX of every file system
    const bool plain = !file_name.empty() && file_name.size() <= kLongest && file_name != "." &&
                       file_name != ".." &&
                       file_name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
    if (plain) return;
    throw_field_error({file().path(), at, name_, FormatFault::out_of_range},
                      "is in \"" + printable(file_name) +
                          "\", which is not a plain name of a file in the folder of the index");
  }

  void add_place(const std::string& file_name) {
    const std::uint64_t at = start_of(file_name);
    if (last_ == nullptr || file_name != *last_) {
      check_file_name(file_name, at);
      last_ = &*index_.files.insert(file_name).first;
    }
    index_.places.push_back({.name = name_, .file = last_, .offset = at});
  }

  std::size_t depth_ = 0;
  bool is_map_ = false;
  bool has_map_ = false;
  std::string name_;
  SafetensorsIndex index_;
  const std::string* last_ = nullptr;  // usually also the file of the next tensor
};

void check_places(const std::filesystem::path& path, const SafetensorsIndex& index,
                  const TensorDirectory& tensors) {
  std::vector<std::string> file_names;
  for (const TensorFile& file : tensors.files()) file_names.push_back(file.path.filename());
  for (const SafetensorsIndex::Place& place : index.places) {
    const TensorEntry* tensor = tensors.find(place.name);
    if (tensor != nullptr && file_names[tensor->file] == *place.file) continue;
    throw_field_error({path.string(), place.offset, place.name, FormatFault::contradictory},
                      "is not in " + printable(*place.file),
                      "check that the index and the files belong to the same model");
  }
}

}  // namespace

std::optional<SafetensorsIndex> read_safetensors_index(const std::filesystem::path& path) {
  FileReader file(path);
  IndexHandler handler(file);
  parse_json(handler);
  if (!handler.has_map()) return std::nullopt;
  return std::move(handler).take();
}

TensorDirectory read_safetensors_shards(const std::filesystem::path& path,
                                        const SafetensorsIndex& index, Metadata& metadata) {
  TensorDirectoryBuilder builder;
  for (const std::string& name : index.files) {
    FileReader file = open_named_file(path.parent_path() / name, path.string() + " names it");
    read_safetensors_header(file, builder, metadata);
  }
  TensorDirectory tensors = std::move(builder).finish();
  check_places(path, index, tensors);
  return tensors;
}

}  // namespace tapedeck::internal
