#include "telemetry/metrics/host_port.hpp"

#include <charconv>
#include <system_error>

#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::string_view kLoopback = "127.0.0.1";

[[noreturn]] void refuse(std::string_view text, const char* why) {
  throw InvalidArgument({.argument = "address"},
                        "the metrics address \"" + std::string(text) + "\" cannot be used: " + why,
                        "give HOST:PORT, as in 127.0.0.1:9464");
}

bool in_brackets(std::string_view host) { return host.starts_with('[') && host.ends_with(']'); }

}  // namespace

HostPort parse_host_port(std::string_view text) {
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    refuse(text.substr(0, nul), "it has a NUL");
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(':') || text.ends_with(']')) {
    refuse(text, "there is no port");
  }
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || rest != digits.data() + digits.size()) {
    refuse(text, "the port is no number from 0 to 65535");
  }
  std::string_view host = text.substr(0, colon);
  if (in_brackets(host)) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) refuse(text, "no IPv6 address in the brackets");
  } else if (host.find_first_of(":[]") != std::string_view::npos) {
    refuse(text, "an IPv6 address stands in brackets");
  }
  if (host.empty()) host = kLoopback;
  return {.host = std::string(host), .port = port};
}

}  // namespace tapedeck::internal
