#include "tapedeck/model/read_model.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "model/gguf/gguf.hpp"
#include "model/llama2c/llama2c.hpp"
#include "model/model_folder.hpp"
#include "model/safetensors/safetensors.hpp"
#include "os/file.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

enum class Content : std::uint8_t { gguf, safetensors, json, llama2c, unknown };

bool begins_with_object(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{';
}

// These do not exclude one another by chance: a GGUF file begins with letters, a safetensors file
// with a length whose upper bytes are 0, a JSON text has no such bytes, and a llama2.c header of a
// first byte '{' would have heads of an odd size.
Content content_of(std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (text.starts_with("GGUF")) return Content::gguf;
  std::uint64_t length = ~std::uint64_t{0};
  if (text.size() > sizeof length) std::memcpy(&length, text.data(), sizeof length);
  if (length <= internal::kMostSafetensorsHeader &&
      begins_with_object(text.substr(sizeof length))) {
    return Content::safetensors;
  }
  if (begins_with_object(text)) return Content::json;
  return internal::looks_like_llama2c(head) ? Content::llama2c : Content::unknown;
}

// For a broken file: what it was to be, so that the error can say more.
Content content_by_name(const std::filesystem::path& path) {
  const std::filesystem::path extension = path.extension();
  if (extension == ".gguf") return Content::gguf;
  if (extension == ".safetensors") return Content::safetensors;
  if (extension == ".json") return Content::json;
  if (extension == ".bin") return Content::llama2c;
  return Content::unknown;
}

bool is_there(const std::filesystem::path& path) {
  const os::FileFacts facts = os::facts(path);
  if (facts.error == ENOENT) return false;
  if (facts.error != 0) {
    throw SystemError({.call = "stat", .number = facts.error, .path = path.string()});
  }
  return true;
}

void read_config(const std::filesystem::path& path, Model& model) {
  model.metadata = internal::read_json_config(path);
  model.shape = internal::config_shape(path.string(), model.metadata);
}

// What a safetensors file is, the config.json beside it says.
Model start_safetensors(const std::filesystem::path& path) {
  Model model;
  model.format = ModelFormat::safetensors;
  model.path = path;
  const std::filesystem::path config = path.parent_path() / "config.json";
  if (is_there(config)) read_config(config, model);
  return model;
}

Model read_safetensors(const std::filesystem::path& path) {
  Model model = start_safetensors(path);
  internal::FileReader file(path);
  internal::TensorDirectoryBuilder tensors;
  internal::read_safetensors_header(file, tensors, model.metadata);
  model.tensors = std::move(tensors).finish();
  internal::TensorDirectoryBuilder::mark_draft_layers(model.tensors, model.shape);
  return model;
}

Model read_json(const std::filesystem::path& path) {
  if (internal::is_safetensors_index(path)) {
    Model model = start_safetensors(path);
    model.tensors = internal::read_safetensors_index(path, model.metadata);
    internal::TensorDirectoryBuilder::mark_draft_layers(model.tensors, model.shape);
    return model;
  }
  Model model;
  model.format = ModelFormat::config;
  model.path = path;
  read_config(path, model);
  return model;
}

Model read_file(const std::filesystem::path& path) {
  internal::FileReader file(path);
  Content content = content_of(file.peek());
  if (content == Content::unknown) content = content_by_name(path);
  switch (content) {
    case Content::gguf:
      return internal::read_gguf(path);
    case Content::safetensors:
      return read_safetensors(path);
    case Content::json:
      return read_json(path);
    case Content::llama2c:
      return internal::read_llama2c(path);
    case Content::unknown:
      break;
  }
  file.refuse(0, "it is no GGUF, safetensors, config.json or llama2.c file");
}

}  // namespace

Model read_model(const std::filesystem::path& path) {
  std::error_code ignored;  // what cannot be looked at cannot be opened either, and that is told
  if (!std::filesystem::is_directory(path, ignored)) return read_file(path);
  Model model = read_file(internal::main_file_of(path));
  model.path = path;
  return model;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
