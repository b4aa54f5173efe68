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
  create();
  if (is_new) return;
  OnFailure undo([&] { remove_temporary(); });
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

void NewFile::create() {
  // In the same folder, so that naming the file copies nothing. The length of the name does not
  // depend on that of the final name, which may be the longest allowed.
  const std::filesystem::path folder = path_.parent_path();
  temporary_ = folder / (".tapedeck-" + std::to_string(std::random_device()()));
  os::Opened opened = os::open(folder.empty() ? "." : folder, os::OpenFor::creating_unnamed);
  // Naming it needs /proc.
  named_ = opened.error != 0 || os::facts("/proc/self/fd").error != 0;
  if (named_) opened = os::open(temporary_, os::OpenFor::creating);
  if (opened.error != 0) throw_system_error("open", opened.error);
  descriptor_ = std::move(opened.descriptor);
}

NewFile::~NewFile() { remove_temporary(); }

void NewFile::remove_temporary() noexcept {
  if (named_) static_cast<void>(os::remove_file(temporary_));
}

void NewFile::write(std::span<const std::byte> bytes) {
  const os::Transferred put = os::write_all(descriptor_.get(), bytes);
  if (put.error != 0) throw_system_error("write", put.error);
}

void NewFile::put_in_place() {
  if (!named_) {
    int error = os::give_name(descriptor_.get(), path_);
    if (error == EEXIST) {
      error = os::give_name(descriptor_.get(), temporary_);
      named_ = error == 0;
    }
    if (error != 0) throw_system_error("linkat", error);
  }
  descriptor_ = {};
  if (!named_) return;
  if (const int error = os::rename_file(temporary_, path_); error != 0) {
    throw_system_error("rename", error);
  }
  named_ = false;
}

void NewFile::throw_system_error(const char* call, int error) const {
  throw SystemError({.call = call, .number = error, .path = path_.string()});
}

}  // namespace tapedeck::internal
