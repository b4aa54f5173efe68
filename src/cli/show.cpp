// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/amounts.hpp"
#include "cli/commands.hpp"
#include "cli/option_table.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/plan_text.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::cli {
namespace {

using internal::count_of;

constexpr std::size_t kShown = 16;  // elements of an array

struct AsText {
  std::string operator()(std::monostate) const { return "null"; }
  std::string operator()(const std::string& text) const { return '"' + text + '"'; }
  std::string operator()(const Metadata::Omitted& array) const {
    return fmt::format("[{}]", count_of(array.count, "item"));
  }
  template <class T>
  std::string operator()(const std::vector<T>& values) const {
    const std::span shown(values.begin(), std::min(values.size(), kShown));
    const bool all = shown.size() == values.size();
    return fmt::format("[{}{}]", fmt::join(shown, ", "),
                       all ? "" : fmt::format(", ... {} in total", values.size()));
  }
  template <class T>
  std::string operator()(const T& value) const {
    return fmt::format("{}", value);
  }
};

// Whether a file does not contain a single whole tensor, such as a download of only the header.
bool is_header_only(const Model& model, std::size_t file) {
  const std::uint64_t size = model.tensors.files()[file].size;
  return std::ranges::none_of(model.tensors.entries(), [&](const TensorEntry& tensor) {
    return tensor.file == file && tensor.bytes != 0 && tensor.offset + tensor.bytes <= size;
  });
}

std::string files_text(const Model& model) {
  std::string text;
  for (std::size_t i = 0; i < model.tensors.files().size(); ++i) {
    const TensorFile& file = model.tensors.files()[i];
    text += fmt::format("file      {}: {}, data from byte {} to {}", printable(file.path.string()),
                        to_iec(file.size), file.data_begin, file.data_end);
    if (file.truncated()) {
      text +=
          fmt::format(" ({}: {} missing)", is_header_only(model, i) ? "header only" : "TRUNCATED",
                      to_iec(file.data_end - file.size));
    }
    text += '\n';
  }
  return text;
}

// A header is shown even if its file is broken, but the file is not reported as whole.
void require_whole_or_header(const Model& model) {
  for (std::size_t i = 0; i < model.tensors.files().size(); ++i) {
    const TensorFile& file = model.tensors.files()[i];
    if (!file.truncated() || is_header_only(model, i)) continue;
    throw FormatError(
        {.path = file.path.string(), .offset = file.size, .fault = FormatFault::cut_off},
        fmt::format("the file is truncated: its tensors end at byte {}, and it lacks {}",
                    file.data_end, count_of(file.data_end - file.size, "byte")),
        "copy or download it again");
  }
}

std::string metadata_text(const Metadata& metadata) {
  std::string text;
  for (const Metadata::Entry& entry : metadata.entries()) {
    text += fmt::format("  {} = {}\n", printable(entry.key),
                        printable(std::visit(AsText{}, entry.value)));
  }
  return text;
}

std::string tensors_text(const Model& model) {
  const TensorDirectory& tensors = model.tensors;
  if (model.format == ModelFormat::config) return "\nno file that lists the tensors\n";
  std::string text = fmt::format("\n{}, {}\n", count_of(tensors.entries().size(), "tensor"),
                                 to_iec(tensors.bytes()));
  for (const TensorEntry& tensor : tensors.entries()) {
    text += fmt::format("  {:<8} {:>20} at {:>14} of file {}  [{}]  {}{}\n",
                        to_string(tensor.dtype), count_of(tensor.bytes, "byte"), tensor.offset,
                        tensor.file, fmt::join(tensor.shape(), ", "), printable(tensor.name),
                        tensor.aligned ? "" : "  (misaligned)");
  }
  return text;
}

int show(const std::string& path) {
  const Model model = read_model(path);
  std::string text = model_text(model);
  if (model.version != 0) text += fmt::format("version   {}\n", model.version);
  text += files_text(model);
  text += "\n" + count_of(model.metadata.entries().size(), "key") + "\n" +
          metadata_text(model.metadata) + tensors_text(model);
  Output().write(text + warnings_text(model.shape.warnings));
  require_whole_or_header(model);
  return 0;
}

}  // namespace

void add_show(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "show",
      "Shows a model's header, hyperparameters and tensors, or where its files are broken.");
  auto path = std::make_shared<std::string>();
  as_path(command->add_option("MODEL", *path, "A model's file or folder"))->required();
  command->callback([path, &exit_code] { exit_code = show(*path); });
}

}  // namespace tapedeck::cli
