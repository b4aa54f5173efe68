#include "model/model_folder.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/printable.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kIndex = ".safetensors.index.json";
constexpr std::string_view kSafetensors = ".safetensors";
constexpr std::string_view kGguf = ".gguf";

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  if (error) {
    throw SystemError({.call = "opendir", .number = error.value(), .path = folder.string()});
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What the parts of a split GGUF model have in common: "llama-?????-of-00003.gguf".
std::string family_of(const std::string& name) {
  constexpr std::string_view kPattern = "-00001-of-00003.gguf";
  if (name.size() < kPattern.size()) return name;
  const std::size_t begin = name.size() - kPattern.size();
  for (std::size_t i = 0; i < kPattern.size(); ++i) {
    const char c = name[begin + i];
    const bool digit = kPattern[i] >= '0' && kPattern[i] <= '9';
    if (digit ? (c < '0' || c > '9') : c != kPattern[i]) return name;
  }
  std::string family = name;
  return family.replace(begin + 1, 5, 5, '?');
}

// By what they have in common, the first file of each.
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

}  // namespace

fs::path main_file_of(const fs::path& folder) {
  const std::vector<std::string> names = names_in(folder);
  const std::map<std::string, std::string> models = models_among(names);
  if (models.size() == 1) return folder / models.begin()->second;
  if (models.empty()) {
    if (std::binary_search(names.begin(), names.end(), kConfig)) return folder / kConfig;
    throw InvalidArgument(folder.string() + " holds no model",
                          "a folder with a config.json, safetensors files or a GGUF file is one");
  }
  constexpr std::size_t kMostShown = 4;
  std::string list;
  std::size_t shown = 0;
  for (const auto& [family, first] : models) {
    if (shown++ == kMostShown) break;
    list += (list.empty() ? "" : ", ") + printable(first);
  }
  if (models.size() > kMostShown) list += ", ...";
  throw InvalidArgument(
      folder.string() + " holds " + std::to_string(models.size()) + " models: " + list,
      "name one of them; several safetensors files are one model where an index names them");
}

}  // namespace tapedeck::internal
