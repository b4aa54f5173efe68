// SPDX-License-Identifier: Apache-2.0
/// @file
/// Tables with named columns: the indexes of the real files beside the checkout, and others.
#pragma once

#include <cctype>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/paths.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::tests {

/// A row of a table, indexed by the names of its columns.
using IndexRow = std::map<std::string, std::string>;

/// Splits a table's text into records. Quoted fields may contain separators, doubled quotes and
/// line ends.
[[nodiscard]] inline std::vector<std::vector<std::string>> table_records(const std::string& text,
                                                                         char separator) {
  std::vector<std::vector<std::string>> records;
  std::vector<std::string> record = {""};
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') {
      // The second quote of a doubled quote opens the field again that the first one closed.
      if (!quoted && !record.back().empty()) record.back() += '"';
      quoted = !quoted;
    } else if (quoted || (c != separator && c != '\n' && c != '\r')) {
      record.back() += c;
    } else if (c == separator) {
      record.emplace_back();
    } else if (c == '\n') {
      records.push_back(std::exchange(record, {""}));
    }
  }
  if (record.size() > 1) records.push_back(record);
  return records;
}

/// The rows below a table's first line, which names the columns. Empty if the file is missing.
[[nodiscard]] inline std::vector<IndexRow> table_of(const std::filesystem::path& file,
                                                    char separator = ',') {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::vector<std::vector<std::string>> records = table_records(text, separator);
  std::vector<IndexRow> rows;
  for (std::size_t i = 1; i < records.size(); ++i) {
    IndexRow row;
    for (std::size_t column = 0; column < records[0].size(); ++column) {
      row[records[0][column]] = records[i].at(column);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

/// The rows of FOLDER/INDEX.csv. Empty if the folder is missing.
[[nodiscard]] inline std::vector<IndexRow> index_of(const std::string& folder) {
  return table_of(shared_data(folder) / "INDEX.csv");
}

/// The types of a directory in the format of the indexes: "F32:65 Q4_0:225", sorted by name.
[[nodiscard]] inline std::string types_of(const TensorDirectory& tensors) {
  std::map<std::string, int> counts;
  for (const TensorEntry& tensor : tensors.entries()) {
    std::string name(to_string(tensor.dtype));
    for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    ++counts[name];
  }
  std::string text;
  for (const auto& [name, count] : counts) {
    text += (text.empty() ? "" : " ") + name + ":" + std::to_string(count);
  }
  return text;
}

}  // namespace tapedeck::tests
