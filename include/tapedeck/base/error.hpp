/// @file
/// What cold paths throw. Every error says what happened, where, and what the user can do; the
/// facts are fields, so that a host can act on them without parsing text.
/// @code{.cpp}
/// using namespace tapedeck;
/// try {
///   const Block model = Block::map_file("no/such/model.gguf");
/// } catch (const SystemError& error) {
///   if (error.number() != ENOENT) throw;  // error.path(), error.call(), error.advice()
/// }
/// @endcode
/// The hot path has its own type, `TapeFull` (memory/tape_full.hpp), which allocates nothing.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The base of every error this library throws, except `TapeFull`. Objects are immutable: safe to
/// read from any thread.
class Error : public std::runtime_error {
 public:
  /// What the user can do about it, in one clause; empty when there is nothing to add.
  [[nodiscard]] const std::string& advice() const noexcept { return advice_; }

 protected:
  Error(const std::string& message, std::string advice);

 private:
  std::string advice_;
};

/// A caller's mistake: an option or a size that makes no sense.
class InvalidArgument : public Error {
 public:
  explicit InvalidArgument(const std::string& message, std::string advice = {});
};

/// The operating system refused a call.
class SystemError : public Error {
 public:
  struct Facts {
    std::string call;                       ///< The call, as in its manual page: "mmap".
    int number = 0;                         ///< errno.
    std::string path{};                     ///< The file it was about, if any.
    std::size_t bytes = 0;                  ///< The size asked for, if any.
    std::optional<std::uint64_t> offset{};  ///< The byte of the file, if that is known.
  };

  explicit SystemError(Facts facts, std::string advice = {});

  [[nodiscard]] const std::string& call() const noexcept { return facts_.call; }
  [[nodiscard]] int number() const noexcept { return facts_.number; }
  /// errno by name: "ENOMEM".
  [[nodiscard]] std::string name() const;
  [[nodiscard]] const std::string& path() const noexcept { return facts_.path; }
  [[nodiscard]] std::size_t bytes() const noexcept { return facts_.bytes; }
  [[nodiscard]] std::optional<std::uint64_t> offset() const noexcept { return facts_.offset; }

 private:
  Facts facts_;
};

/// Memory that would be needed and is not there, found out before the kernel had to kill somebody.
class OutOfMemory : public Error {
 public:
  struct Facts {
    std::string purpose;        ///< What the memory was for: "warming tape weights".
    std::string limit;          ///< What bounds it: "MemAvailable", "memory cgroup /a/b".
    std::size_t needed = 0;     ///< Bytes.
    std::size_t available = 0;  ///< Bytes.
  };

  explicit OutOfMemory(Facts facts, std::string advice = {});

  [[nodiscard]] const std::string& purpose() const noexcept { return facts_.purpose; }
  [[nodiscard]] const std::string& limit() const noexcept { return facts_.limit; }
  [[nodiscard]] std::size_t needed() const noexcept { return facts_.needed; }
  [[nodiscard]] std::size_t available() const noexcept { return facts_.available; }

 private:
  Facts facts_;
};

/// A file whose content is not what its format says.
class FormatError : public Error {
 public:
  /// @param offset  the byte of the file where the fault was found.
  FormatError(std::string path, std::uint64_t offset, const std::string& message,
              std::string advice = {});

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

 private:
  std::string path_;
  std::uint64_t offset_;
};

/// errno by name: "ENOMEM"; "errno 4711" for a number the C library does not know.
[[nodiscard]] std::string errno_name(int number);

}  // namespace tapedeck::inline TAPEDECK_ABI
