// SPDX-License-Identifier: Apache-2.0
/// @file
/// Parsing of JSON from untrusted files, as a sequence of events with their byte offsets.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/printable.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// The characters of a file, which is read as they are consumed, or of a text made from a file.
class JsonSource {
 public:
  /// An input iterator; nlohmann's parser takes a pair of them.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = char;

    explicit Iterator(JsonSource* source) : source_(source) {}
    char operator*() const { return *source_->at_; }
    Iterator& operator++() {
      ++source_->at_;
      return *this;
    }
    /// May only be compared with the end.
    bool operator!=(const Iterator& /*end*/) const { return source_->has_more(); }
    bool operator==(const Iterator& /*end*/) const { return !source_->has_more(); }

   private:
    JsonSource* source_;
  };

  /// From the current position of the file, for `bytes` or to the end of the file.
  explicit JsonSource(FileReader& file,
                      std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max())
      : file_(file), left_(bytes), chunk_offset_(file.offset()) {}
  /// The text takes the place of the file, from the file's first byte on.
  JsonSource(FileReader& file, std::string_view text)
      : file_(file), begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}

  [[nodiscard]] Iterator begin() noexcept { return Iterator(this); }
  [[nodiscard]] Iterator end() noexcept { return Iterator(this); }
  /// Offset of the next character in the file.
  [[nodiscard]] std::uint64_t offset() const noexcept {
    return chunk_offset_ + static_cast<std::uint64_t>(at_ - begin_);
  }

 private:
  [[nodiscard]] bool has_more() { return at_ != end_ || read_on(); }
  [[nodiscard]] bool read_on() {
    if (left_ == 0) return false;
    file_.skip(static_cast<std::uint64_t>(end_ - begin_), "a JSON text");
    chunk_offset_ = file_.offset();
    const std::span<const std::byte> next = file_.peek();
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(next.size(), left_));
    left_ -= bytes;
    begin_ = at_ = reinterpret_cast<const char*>(next.data());
    end_ = begin_ + bytes;
    return bytes != 0;
  }

  FileReader& file_;
  std::uint64_t left_ = 0;          // bytes after end_ that may still be read
  std::uint64_t chunk_offset_ = 0;  // offset of begin_ in the file
  const char* begin_ = nullptr;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
};

/// Base class of handlers of JSON events. Each hides, by name, the functions of events it handles.
class JsonHandler {
 public:
  explicit JsonHandler(FileReader& file,
                       std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max())
      : file_(file), source_(file, bytes), begin_(file.offset()) {}
  JsonHandler(FileReader& file, std::string_view text) : file_(file), source_(file, text) {}

  [[nodiscard]] JsonSource& source() noexcept { return source_; }

  // NOLINTBEGIN(readability-convert-member-functions-to-static): the parser calls them on an object
  bool null() { return other_value("null"); }
  bool boolean(bool /*value*/) { return other_value("a boolean"); }
  bool number_integer(std::int64_t /*value*/) { return other_value("a negative number"); }
  bool number_unsigned(std::uint64_t /*value*/) { return other_value("a number"); }
  bool number_float(double /*value*/, const std::string& /*text*/) {
    return other_value("a number that is not whole, or is too large");
  }
  bool binary(nlohmann::json::binary_t& /*value*/) { return false; }  // JSON has none
  // NOLINTEND(readability-convert-member-functions-to-static)

  /// @throws FormatError
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& error) {
    // "[…] parse error at line 1, column 2: syntax error while …; last read: 'bytes of the file'"
    // "[…] number overflow parsing '…'", with all of the number's digits
    std::string_view text = error.what();
    text = text.substr(0, text.find("; last read"));
    constexpr std::string_view kBeforeTheReason = ": ";
    const std::size_t reason = text.find(kBeforeTheReason);
    if (reason != std::string_view::npos) text.remove_prefix(reason + kBeforeTheReason.size());
    file_.throw_format_error({.offset = begin_ + (position == 0 ? 0 : position - 1)},
                             "invalid JSON: " + printable(text, 2 * kMostOfName),
                             "check that the file is complete");
  }

 protected:
  ~JsonHandler() = default;

  /// Handles a value whose event the handler does not handle itself.
  /// @param what  the kind of value: "a number".
  virtual bool other_value(const char* what) = 0;

  [[nodiscard]] const FileReader& file() const noexcept { return file_; }
  /// Offset of the last character that was read.
  [[nodiscard]] std::uint64_t here() const noexcept {
    const std::uint64_t next = source_.offset();
    return next > begin_ ? next - 1 : begin_;
  }
  /// Offset of the beginning of the string that was just read.
  [[nodiscard]] std::uint64_t start_of(const std::string& text) const noexcept {
    const std::uint64_t next = source_.offset();
    const std::uint64_t length = text.size() + 2;
    return next >= begin_ + length ? next - length : begin_;
  }

 private:
  FileReader& file_;
  JsonSource source_;
  std::uint64_t begin_ = 0;
};

/// Passes the events of a JSON text to the handler, until the handler returns false.
/// @throws SystemError; FormatError if the text is not JSON, or continues after the JSON value.
template <class Handler>
bool parse_json(Handler& handler) {
  JsonSource& source = handler.source();
  return nlohmann::json::sax_parse(source.begin(), source.end(), &handler);
}

}  // namespace tapedeck::internal
