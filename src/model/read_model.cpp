// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/read_model.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/printable.hpp"
#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "model/gguf/gguf.hpp"
#include "model/llama2c/llama2c.hpp"
#include "model/part_name.hpp"
#include "model/safetensors/safetensors.hpp"
#include "model/unused_fields.hpp"
#include "model/unwritten.hpp"
#include "os/file.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

bool begins_with_object(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{';
}

// The formats cannot be confused: a GGUF file begins with letters, a safetensors file with a length
// whose upper bytes are 0, which a JSON text does not contain, and a llama2.c header whose first
// byte is '{' would have heads of an odd size.
std::optional<ModelFormat> content_of(std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (text.starts_with("GGUF")) return ModelFormat::gguf;
  std::uint64_t length = ~std::uint64_t{0};
  if (text.size() > sizeof length) std::memcpy(&length, text.data(), sizeof length);
  if (length <= internal::kMostSafetensorsHeader &&
      begins_with_object(text.substr(sizeof length))) {
    return ModelFormat::safetensors;
  }
  if (begins_with_object(text)) return ModelFormat::config;
  if (internal::looks_like_llama2c(head)) return ModelFormat::llama2c;
  return std::nullopt;
}

// The format that a broken file should have had, so that the error can be more specific.
std::optional<ModelFormat> content_by_name(const std::filesystem::path& path) {
  const std::filesystem::path extension = path.extension();
  if (extension == ".gguf") return ModelFormat::gguf;
  if (extension == ".safetensors") return ModelFormat::safetensors;
  if (extension == ".json") return ModelFormat::config;
  if (extension == ".bin") return ModelFormat::llama2c;
  return std::nullopt;
}

bool is_there(const std::filesystem::path& path) {
  const os::FileFacts facts = os::facts(path);
  if (facts.error == ENOENT) return false;
  if (facts.error != 0) {
    throw SystemError({.call = "stat", .number = facts.error, .path = path.string()});
  }
  return true;
}

// Older tools state in a file of its own how they have quantized the weights.
void note_quantization_beside(const std::filesystem::path& config, ModelShape& shape) {
  if (!shape.quantization.method.empty() || shape.layers.empty()) return;
  for (const char* const name :
       {"hf_quant_config.json", "quantize_config.json", "quant_config.json"}) {
    if (!is_there(config.parent_path() / name)) continue;
    internal::assume(
        shape, internal::kWeightSizes,
        std::string(name) +
            " says how the weights are quantized, but is not used; they are planned as "
            "if they were not quantized");
  }
}

void read_config(const std::filesystem::path& path, Model& model) {
  model.metadata = internal::read_json_config(path);
  model.shape = internal::config_shape(path.string(), model.metadata,
                                       model.format == ModelFormat::safetensors);
  if (model.format == ModelFormat::config) note_quantization_beside(path, model.shape);
}

// A safetensors file does not state that it is a part of a model, but its name does.
void warn_of_other_parts(const std::filesystem::path& path, ModelShape& shape) {
  const std::optional<internal::PartName> part = internal::part_name(path);
  if (!part) return;
  internal::assume(shape, internal::kWeightSizes,
                   internal::printable(path.filename().string()) + " is named as part " +
                       std::to_string(part->number) + " of " + std::to_string(part->count) +
                       ", and the others are left out; name the index that lists all of them");
}

// The config.json in the same folder describes the model of safetensors files.
// @param index  nullptr for a single file
Model read_safetensors(const std::filesystem::path& path,
                       const internal::SafetensorsIndex* index = nullptr) {
  Model model;
  model.format = ModelFormat::safetensors;
  model.path = path;
  const std::filesystem::path config = path.parent_path() / "config.json";
  if (is_there(config)) read_config(config, model);
  if (index != nullptr) {
    model.tensors = internal::read_safetensors_shards(path, *index, model.metadata);
  } else {
    internal::FileReader file(path);
    internal::TensorDirectoryBuilder tensors;
    internal::read_safetensors_header(file, tensors, model.metadata);
    model.tensors = std::move(tensors).finish();
  }
  internal::TensorDirectoryBuilder::mark_draft_layers(model.tensors, model.shape);
  if (index == nullptr) warn_of_other_parts(path, model.shape);
  return model;
}

Model read_json(const std::filesystem::path& path) {
  if (const auto index = internal::read_safetensors_index(path)) {
    return read_safetensors(path, &*index);
  }
  Model model;
  model.format = ModelFormat::config;
  model.path = path;
  read_config(path, model);
  return model;
}

Model read_file(const std::filesystem::path& path) {
  internal::FileReader file(path);
  file.require_content(internal::kCopyAgain);
  std::optional<ModelFormat> content = content_of(file.peek());
  if (!content) content = content_by_name(path);
  if (content == ModelFormat::gguf) return internal::read_gguf(path);
  if (content == ModelFormat::safetensors) return read_safetensors(path);
  if (content == ModelFormat::config) return read_json(path);
  if (content == ModelFormat::llama2c) return internal::read_llama2c(path);
  file.throw_format_error({.fault = FormatFault::not_this_format},
                          "it is not a GGUF, safetensors, config.json or llama2.c file");
}

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kIndex = ".safetensors.index.json";
constexpr std::string_view kSafetensors = ".safetensors";
constexpr std::string_view kGguf = ".gguf";

// Not a folder, a socket or the like. A link to a file that is missing is one, so that it is
// missed.
bool may_be_file(const std::filesystem::directory_entry& entry) {
  using std::filesystem::file_type;
  std::error_code ignored;  // what cannot be looked at may be a file
  const file_type type = entry.status(ignored).type();
  return type == file_type::regular || type == file_type::not_found || type == file_type::none ||
         type == file_type::unknown;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    if (may_be_file(*at)) names.push_back(at->path().filename().string());
  }
  if (error) {
    throw SystemError({.call = "opendir", .number = error.value(), .path = folder.string()});
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The name that all parts of a split GGUF model have in common: "llama-?????-of-00003.gguf".
std::string family_of(const std::string& name) {
  static const std::regex part("-[0-9]{5}(-of-[0-9]{5}\\.gguf)$");
  return std::regex_replace(name, part, "-?????$1");
}

// The first file of each model, by the name that the model's files have in common.
std::map<std::string, std::string> models_among(const std::vector<std::string>& names) {
  std::map<std::string, std::string> models;
  const bool indexed = std::any_of(names.begin(), names.end(),
                                   [](const std::string& name) { return name.ends_with(kIndex); });
  for (const std::string& name : names) {
    if (name.ends_with(kGguf)) models.try_emplace(family_of(name), name);
    if (name.ends_with(indexed ? kIndex : kSafetensors)) models.try_emplace(name, name);
  }
  return models;
}

// Vision and audio towers of a GGUF model are files of their own. llama.cpp recognizes them by this
// part of their names, too.
bool is_projector(const std::string& name) {
  return name.ends_with(kGguf) && name.find("mmproj") != std::string::npos;
}

bool is_main_gguf(const std::string& name) { return name.ends_with(kGguf) && !is_projector(name); }

// Removes the projectors of the model from the names of a folder's files and returns them. A folder
// without another GGUF file has none.
std::vector<std::string> take_projectors(std::vector<std::string>& names) {
  std::vector<std::string> projectors;
  if (!std::any_of(names.begin(), names.end(), is_main_gguf)) return projectors;
  std::copy_if(names.begin(), names.end(), std::back_inserter(projectors), is_projector);
  std::erase_if(names, is_projector);
  return projectors;
}

void note_projectors(const std::filesystem::path& folder,
                     const std::vector<std::string>& projectors, ModelShape& shape) {
  for (const std::string& name : projectors) {
    const os::FileFacts facts = os::facts(folder / name);
    internal::assume(shape, internal::kWeightSizes,
                     internal::printable(name) + " beside the model is left out: " +
                         (facts.error == 0 ? to_iec(facts.bytes) : "an unknown size") +
                         " of weights, and its buffers");
  }
}

// The file to start with: an index, a safetensors file or a GGUF file, or a config.json if there
// are no weights.
std::filesystem::path main_file_of(const std::filesystem::path& folder,
                                   const std::vector<std::string>& names) {
  const std::map<std::string, std::string> models = models_among(names);
  if (models.size() == 1) return folder / models.begin()->second;
  if (models.empty()) {
    if (std::binary_search(names.begin(), names.end(), kConfig)) return folder / kConfig;
    throw InvalidArgument({.argument = "path"}, folder.string() + " holds no model",
                          "use a folder with a config.json, safetensors files or a GGUF file");
  }
  constexpr std::size_t kMostShown = 4;
  std::string list;
  std::size_t shown = 0;
  for (const auto& [family, first] : models) {
    if (shown++ == kMostShown) break;
    list += (list.empty() ? "" : ", ") + internal::printable(first);
  }
  if (models.size() > kMostShown) list += ", ...";
  throw InvalidArgument(
      {.argument = "path"},
      folder.string() + " holds " + std::to_string(models.size()) + " models: " + list,
      "name one of these files; safetensors files are one model only if an index lists them");
}

Model read_folder(const std::filesystem::path& folder) {
  std::vector<std::string> names = names_in(folder);
  const std::vector<std::string> projectors = take_projectors(names);
  Model model = read_file(main_file_of(folder, names));
  model.path = folder;
  note_projectors(folder, projectors, model.shape);
  return model;
}

}  // namespace

Model read_model(const std::filesystem::path& path) {
  std::error_code ignored;  // if this fails, opening the file fails as well and throws
  const bool folder = std::filesystem::is_directory(path, ignored);
  Model model = folder ? read_folder(path) : read_file(path);
  for (std::string& warning : internal::warnings_of_unwritten(model.tensors)) {
    model.shape.warnings.push_back(std::move(warning));
  }
  return model;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
