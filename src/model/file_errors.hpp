// SPDX-License-Identifier: Apache-2.0
/// @file
/// Errors that the readers of this room throw for broken files.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "base/printable.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

/// Throws a FormatError about a named item of a file.
/// @param facts  its field is the name as the file has it: a key, a tensor's name
/// @param message  continues the sentence after the name: "is not a power of two"
[[noreturn]] inline void throw_field_error(FormatError::Facts facts, const std::string& message,
                                           std::string advice = {}) {
  facts.field = printable(facts.field);
  const std::string whole = facts.field + " " + message;
  throw FormatError(std::move(facts), whole, std::move(advice));
}

/// Opens a file that another file of the same model refers to.
/// @param why  begins the advice: "model.safetensors.index.json names it"
[[nodiscard]] inline FileReader open_named_file(const std::filesystem::path& path,
                                                const std::string& why) {
  try {
    return FileReader(path);
  } catch (const SystemError& error) {
    throw SystemError({.call = error.call(), .number = error.number(), .path = error.path()},
                      why + ": keep all files of a model in one folder");
  }
}

}  // namespace tapedeck::internal
