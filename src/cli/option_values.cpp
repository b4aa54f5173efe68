#include "cli/option_values.hpp"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <system_error>

namespace tapedeck::inline TAPEDECK_ABI::cli {

CLI::Validator whole_number() {
  return {[](const std::string& text) -> std::string {
            std::uint64_t number = 0;
            const char* const end = text.data() + text.size();
            const auto [rest, error] = std::from_chars(text.data(), end, number);
            return error == std::errc{} && rest == end ? "" : "no whole number: " + text;
          },
          ""};
}

CLI::Validator positive_number() {
  return {[](const std::string& text) -> std::string {
            double number = 0;
            const char* const end = text.data() + text.size();
            const auto [rest, error] = std::from_chars(text.data(), end, number);
            const bool good = error == std::errc{} && rest == end && std::isfinite(number);
            return good && number > 0 ? "" : "no positive number: " + text;
          },
          ""};
}

void as_size(CLI::Option* option) {
  // Looked at first: CLI11 would make 2^64 - 1 of digits that are too many.
  const CLI::Validator digits = {
      [](const std::string& text) -> std::string {
        std::uint64_t number = 0;
        const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        return error == std::errc{} ? "" : "no size: " + text + " (24GiB, 512M, 1000)";
      },
      ""};
  option->transform(CLI::AsSizeValue(false))->transform(digits)->option_text("SIZE");
}

}  // namespace tapedeck::inline TAPEDECK_ABI::cli
