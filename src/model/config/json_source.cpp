#include "model/config/json_source.hpp"

#include <algorithm>
#include <span>
#include <string_view>

namespace tapedeck::internal {

bool JsonSource::fill() {
  file_.skip(static_cast<std::uint64_t>(end_ - begin_), "a JSON text");
  const std::span<const std::byte> next = file_.peek();
  const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(next.size(), left_));
  left_ -= bytes;
  begin_ = at_ = reinterpret_cast<const char*>(next.data());
  end_ = begin_ + bytes;
  return bytes != 0;
}

bool JsonHandler::parse_error(std::size_t position, const std::string& /*token*/,
                              const nlohmann::json::exception& error) {
  // "[…] parse error at line 1, column 2: syntax error while …; last read: 'bytes of the file'"
  std::string_view text = error.what();
  text = text.substr(0, text.find("; last read"));
  constexpr std::string_view kBeforeTheReason = ": ";
  const std::size_t reason = text.find(kBeforeTheReason);
  if (reason != std::string_view::npos) text.remove_prefix(reason + kBeforeTheReason.size());
  file_.refuse(begin_ + (position == 0 ? 0 : position - 1), "no valid JSON: " + std::string(text));
}

}  // namespace tapedeck::internal
