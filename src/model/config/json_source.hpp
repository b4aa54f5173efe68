/// @file
/// JSON out of a file that is not trusted, event by event, knowing at each event where it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// The next bytes of a file as characters. Reads on as they are asked for.
class JsonSource {
 public:
  /// An input iterator, as nlohmann's parser takes a pair of them.
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
    /// To be compared with the end only.
    bool operator!=(const Iterator& /*end*/) const { return source_->has_more(); }
    bool operator==(const Iterator& /*end*/) const { return !source_->has_more(); }

   private:
    JsonSource* source_;
  };

  /// From the file's place on; to its end, or for so many bytes.
  explicit JsonSource(FileReader& file,
                      std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max())
      : file_(file), left_(bytes) {}

  [[nodiscard]] Iterator begin() noexcept { return Iterator(this); }
  [[nodiscard]] Iterator end() noexcept { return Iterator(this); }
  /// Of the next character in the file.
  [[nodiscard]] std::uint64_t offset() const noexcept {
    return file_.offset() + static_cast<std::uint64_t>(at_ - begin_);
  }

 private:
  [[nodiscard]] bool has_more() { return at_ != end_ || fill(); }
  [[nodiscard]] bool fill();

  FileReader& file_;
  std::uint64_t left_;  // not counting what lies between begin_ and end_
  const char* begin_ = nullptr;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
};

/// What handlers of JSON events share: each overrides (by name) the events it wants. All other
/// values are read over.
class JsonHandler {
 public:
  explicit JsonHandler(FileReader& file,
                       std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max())
      : file_(file), source_(file, bytes), begin_(file.offset()) {}

  [[nodiscard]] JsonSource& source() noexcept { return source_; }

  // NOLINTBEGIN(readability-convert-member-functions-to-static): the parser calls them of an object
  bool null() { return true; }
  bool boolean(bool /*value*/) { return true; }
  bool number_integer(std::int64_t /*value*/) { return true; }
  bool number_unsigned(std::uint64_t /*value*/) { return true; }
  bool number_float(double /*value*/, const std::string& /*text*/) { return true; }
  bool string(std::string& /*value*/) { return true; }
  bool binary(nlohmann::json::binary_t& /*value*/) { return true; }
  bool start_object(std::size_t /*elements*/) { return true; }
  bool key(std::string& /*name*/) { return true; }
  bool end_object() { return true; }
  bool start_array(std::size_t /*elements*/) { return true; }
  bool end_array() { return true; }
  // NOLINTEND(readability-convert-member-functions-to-static)

  /// @throws FormatError
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& error);

 protected:
  ~JsonHandler() = default;

  [[noreturn]] void refuse(const std::string& message, std::string advice = {}) const {
    file_.refuse(here(), message, std::move(advice));
  }
  /// The last character that was read.
  [[nodiscard]] std::uint64_t here() const noexcept {
    const std::uint64_t next = source_.offset();
    return next > begin_ ? next - 1 : begin_;
  }
  /// Where a string began that was just read.
  [[nodiscard]] std::uint64_t start_of(const std::string& text) const noexcept {
    const std::uint64_t next = source_.offset();
    const std::uint64_t length = text.size() + 2;
    return next >= begin_ + length ? next - length : begin_;
  }

 private:
  FileReader& file_;
  JsonSource source_;
  std::uint64_t begin_;
};

/// Gives the handler the events of a whole JSON text, or those until it returns false.
/// @throws SystemError; FormatError where the text is no JSON or goes on after its end.
template <class Handler>
bool parse_json(Handler& handler) {
  JsonSource& source = handler.source();
  return nlohmann::json::sax_parse(source.begin(), source.end(), &handler);
}

}  // namespace tapedeck::internal
