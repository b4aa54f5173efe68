// SPDX-License-Identifier: Apache-2.0
/// @file
/// The exceptions that cold paths throw. The text of every error states what happened, to what, and
/// what the user can do. The facts are also fields, so a host can act on them without parsing text.
/// @code{.cpp}
/// using namespace tapedeck;
/// try {
///   const Block model = Block::map_file("no/such/model.gguf");
/// } catch (const SystemError& error) {
///   if (error.number() != ENOENT) throw;  // error.path(), error.call(), error.advice()
/// }
/// @endcode
/// A host that only logs errors catches `Error` and reads its facts:
/// @code{.cpp}
/// using namespace tapedeck;
/// try {
///   const Block block = Block::reserve(0);
/// } catch (const Error& error) {
///   assert(error.kind() == ErrorKind::invalid_argument);
///   for (const ErrorFact& fact : error.facts()) {
///     std::cerr << fact.name << '=' << fact.value << ' ';
///   }
///   std::cerr << error.message() << '\n';
/// }
/// @endcode
#pragma once

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Why a call failed. The kinds are those that a host would handle differently.
enum class ErrorKind : std::uint8_t {
  invalid_argument,  ///< The caller passed a bad option or size, or a region of another layout.
  wrong_state,       ///< The object cannot do this now: it is sealed, moved from or being warmed.
  unsupported,       ///< This build or this machine lacks what the call needs.
  format,            ///< A file's content violates its format.
  system,            ///< The operating system refused a call.
  device,            ///< A device's driver refused a call.
  /// A talk, a tape, the host or a device does not have enough room. Whether it helps to try again
  /// depends on the type: `TalkFull`, `TapeFull` or `OutOfMemory`.
  out_of_memory,
};

[[nodiscard]] const char* to_string(ErrorKind kind) noexcept;

/// One fact of an error. Its name is that of the accessor that returns it as a number or text.
struct ErrorFact {
  const char* name;
  std::string value;
};

/// The base of every exception in this library. Each also derives from exactly one standard
/// exception: `std::bad_alloc` if memory ran out, otherwise `std::runtime_error`. Objects are
/// immutable, so any thread may read them.
class Error {
 public:
  virtual ~Error();

  [[nodiscard]] virtual ErrorKind kind() const noexcept = 0;
  /// The message and the advice on one line.
  [[nodiscard]] virtual const char* what() const noexcept = 0;
  /// What the user can do about the error, in one clause; empty if there is no advice.
  [[nodiscard]] virtual std::string_view advice() const noexcept = 0;
  /// What happened, and to what.
  [[nodiscard]] std::string_view message() const noexcept;
  /// All known fields as text, for logs.
  [[nodiscard]] virtual std::vector<ErrorFact> facts() const = 0;

 protected:
  Error() = default;
  Error(const Error&) = default;
  Error& operator=(const Error&) = default;
};

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// An error that is a `std::runtime_error`.
class RuntimeError : public std::runtime_error, public Error {
 public:
  [[nodiscard]] const char* what() const noexcept override { return std::runtime_error::what(); }
  [[nodiscard]] std::string_view advice() const noexcept override { return advice_; }

 protected:
  RuntimeError(const std::string& message, std::string advice);

 private:
  std::string advice_;
};

/// An error that is a `std::bad_alloc`.
class BadAlloc : public std::bad_alloc, public Error {
 public:
  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::out_of_memory; }
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }
  [[nodiscard]] std::string_view advice() const noexcept override { return advice_; }

 protected:
  BadAlloc(const std::string& message, std::string advice);

 private:
  std::string text_;
  std::string advice_;
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// The caller passed an option or a size that is not valid.
class InvalidArgument : public internal::RuntimeError {
 public:
  struct Facts {
    /// The option, parameter or object, as spelled in the caller's code:
    /// "PlanOptions::total_context".
    std::string argument{};
    std::optional<std::uint64_t> value{};  ///< The value passed, if it is a number.
    std::optional<std::uint64_t> limit{};  ///< The nearest value that would have been accepted.
  };

  /// This is a template because GCC would otherwise also convert `{.argument = "x"}` to a string.
  template <std::convertible_to<std::string> Text>
  explicit InvalidArgument(const Text& message, std::string advice = {})
      : InvalidArgument(Facts{}, message, std::move(advice)) {}
  InvalidArgument(Facts facts, const std::string& message, std::string advice = {});

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::invalid_argument; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;

  [[nodiscard]] const std::string& argument() const noexcept { return facts_.argument; }
  [[nodiscard]] std::optional<std::uint64_t> value() const noexcept { return facts_.value; }
  [[nodiscard]] std::optional<std::uint64_t> limit() const noexcept { return facts_.limit; }

 private:
  Facts facts_;
};

/// A state in which an object refuses a call.
enum class ObjectState : std::uint8_t {
  empty,         ///< It was moved from, or created without what the call needs.
  sealed,        ///< `seal()` was called, so it neither grows nor shrinks.
  busy,          ///< It is already being warmed, watched or read.
  not_resident,  ///< Its bytes are not in memory yet.
  closed,        ///< It was closed, or its owner is gone.
  in_use,        ///< Something was taken from it, or it was split.
  forked,        ///< Its thread is in the parent of this forked child.
};

[[nodiscard]] const char* to_string(ObjectState state) noexcept;

/// The call is valid, but not in the object's current state.
class WrongState : public internal::RuntimeError {
 public:
  /// @param object  the object's name in messages: "layout", "tape scratch", "talk 3".
  WrongState(std::string object, ObjectState state, const std::string& message,
             std::string advice = {});

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::wrong_state; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;

  [[nodiscard]] const std::string& object() const noexcept { return object_; }
  [[nodiscard]] ObjectState state() const noexcept { return state_; }

 private:
  std::string object_;
  ObjectState state_;
};

/// This build or this machine lacks what the call needs.
class Unsupported : public internal::RuntimeError {
 public:
  /// @param feature  what is missing: "Prometheus metrics", "CUDA".
  Unsupported(std::string feature, const std::string& message, std::string advice = {});

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::unsupported; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;

  [[nodiscard]] const std::string& feature() const noexcept { return feature_; }

 private:
  std::string feature_;
};

/// The operating system refused a call.
class SystemError : public internal::RuntimeError {
 public:
  struct Facts {
    std::string call;                       ///< The call, named as in its manual page: "mmap".
    int number = 0;                         ///< errno.
    std::string path{};                     ///< The file involved, if any.
    std::size_t bytes = 0;                  ///< The size requested, if any.
    std::optional<std::uint64_t> offset{};  ///< The offset in the file in bytes, if known.
    std::string object{};                   ///< What the call was for, if named: "tape scratch".
  };

  explicit SystemError(Facts facts, std::string advice = {});

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::system; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;

  [[nodiscard]] const std::string& call() const noexcept { return facts_.call; }
  [[nodiscard]] int number() const noexcept { return facts_.number; }
  /// The name of the errno value: "ENOMEM".
  [[nodiscard]] std::string name() const;
  [[nodiscard]] const std::string& path() const noexcept { return facts_.path; }
  [[nodiscard]] std::size_t bytes() const noexcept { return facts_.bytes; }
  [[nodiscard]] std::optional<std::uint64_t> offset() const noexcept { return facts_.offset; }
  [[nodiscard]] const std::string& object() const noexcept { return facts_.object; }

 private:
  Facts facts_;
};

/// There is not enough memory for an operation. Where possible this is detected before the kernel
/// would kill a process. A full tape has a type of its own, `TapeFull` (memory/tape_full.hpp),
/// whose construction allocates nothing.
class OutOfMemory : public internal::BadAlloc {
 public:
  struct Facts {
    std::string purpose;  ///< What the memory was for: "warming tape weights".
    /// What limits it: "MemAvailable", "memory cgroup /a/b". Empty if it is not known.
    std::string limit{};
    std::size_t needed = 0;     ///< Bytes.
    std::size_t available = 0;  ///< Bytes.
  };

  explicit OutOfMemory(Facts facts, std::string advice = {});
  /// @param before  what the message states before the facts.
  OutOfMemory(Facts facts, const std::string& before, std::string advice);

  [[nodiscard]] std::vector<ErrorFact> facts() const override;

  [[nodiscard]] const std::string& purpose() const noexcept { return facts_.purpose; }
  [[nodiscard]] const std::string& limit() const noexcept { return facts_.limit; }
  [[nodiscard]] std::size_t needed() const noexcept { return facts_.needed; }
  [[nodiscard]] std::size_t available() const noexcept { return facts_.available; }

 private:
  Facts facts_;
};

/// What is wrong with a file's content.
enum class FormatFault : std::uint8_t {
  malformed,        ///< It violates the format's grammar.
  not_this_format,  ///< It has another format, or a version that cannot be read.
  cut_off,          ///< It ends before the data it announces.
  missing,          ///< A part that is required, or that the file refers to, is absent.
  wrong_type,       ///< A value is present but has the wrong type.
  out_of_range,     ///< A number is too small or too large to be valid or supported.
  contradictory,    ///< Two of its statements cannot both be true.
  unsupported,      ///< It may be valid, but needs something this library does not support.
  changed,          ///< It is no longer the file that was read before.
};

[[nodiscard]] const char* to_string(FormatFault fault) noexcept;

/// A file's content violates its format.
class FormatError : public internal::RuntimeError {
 public:
  struct Facts {
    std::string path;
    std::uint64_t offset = 0;  ///< The byte of the file where the fault was found.
    /// The key or tensor at fault, by its name in the file. It is made printable and truncated if
    /// long; empty if the fault concerns the file as a whole.
    std::string field{};
    FormatFault fault = FormatFault::malformed;
  };

  FormatError(Facts facts, const std::string& message, std::string advice = {});

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::format; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;

  [[nodiscard]] const std::string& path() const noexcept { return facts_.path; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return facts_.offset; }
  [[nodiscard]] const std::string& field() const noexcept { return facts_.field; }
  [[nodiscard]] FormatFault fault() const noexcept { return facts_.fault; }

 private:
  Facts facts_;
};

/// The name of an errno value, such as "ENOMEM", or "errno 4711" if the C library does not know it.
[[nodiscard]] std::string errno_name(int number);

}  // namespace tapedeck::inline TAPEDECK_ABI
