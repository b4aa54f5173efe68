// SPDX-License-Identifier: Apache-2.0
#include "os/new_file.hpp"

#include <cerrno>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include "base/on_failure.hpp"
#include "os/file.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

NewFile::NewFile(std::filesystem::path path) : path_(std::move(path)) {
  const os::FileFacts there = os::facts(path_);
  // An empty path would otherwise fail only in put_in_place().
  const bool is_new = there.error == ENOENT && !path_.empty();
  if (there.error != 0 && !is_new) throw_system_error("stat", there.error);
  if (there.error == 0 && !there.regular) {
    throw InvalidArgument({.argument = "path"},
                          path_.string() + " exists and is not a regular file");
  }
  if (!is_new) follow_links();
  // In the same folder, so that renaming copies nothing. The length of the name does not depend on
  // that of the final name, which may be the longest allowed.
  std::random_device random;
  temporary_ = path_.parent_path() / (".tapedeck-" + std::to_string(random()));
  os::Opened opened = os::open(temporary_, os::OpenFor::creating);
  if (opened.error != 0) throw_system_error("open", opened.error);
  descriptor_ = std::move(opened.descriptor);
  if (is_new) return;
  OnFailure undo([&] { static_cast<void>(os::remove_file(temporary_)); });
  if (const int error = os::set_permissions(descriptor_.get(), there.permissions); error != 0) {
    throw_system_error("fchmod", error);
  }
  undo.completed();
}

// A symbolic link stays one: the file that it names is replaced.
void NewFile::follow_links() {
  std::error_code error;
  std::filesystem::path target = std::filesystem::canonical(path_, error);
  if (error) throw_system_error("realpath", error.value());
  path_ = std::move(target);
}

NewFile::~NewFile() {
  if (!in_place_) static_cast<void>(os::remove_file(temporary_));
}

void NewFile::write(std::span<const std::byte> bytes) {
  const os::Transferred put = os::write_all(descriptor_.get(), bytes);
  if (put.error != 0) throw_system_error("write", put.error);
}

void NewFile::put_in_place() {
  descriptor_ = {};
  if (const int error = os::rename_file(temporary_, path_); error != 0) {
    throw_system_error("rename", error);
  }
  in_place_ = true;
}

void NewFile::throw_system_error(const char* call, int error) const {
  throw SystemError({.call = call, .number = error, .path = path_.string()});
}

}  // namespace tapedeck::internal
