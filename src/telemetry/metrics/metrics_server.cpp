#include "tapedeck/telemetry/metrics/metrics_server.hpp"

#include <prometheus/exposer.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <stop_token>
#include <string_view>
#include <thread>
#include <utility>

#include "os/listen.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/metrics/collector.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

constexpr auto kBetweenKnocks = std::chrono::milliseconds(10);

[[noreturn]] void throw_bad_address(std::string_view text, const std::string& why) {
  throw InvalidArgument({.argument = "address"},
                        "the metrics address \"" + std::string(text) + "\" cannot be used: " + why,
                        "give HOST:PORT of this host, as in 127.0.0.1:9464");
}

/// "127.0.0.1:9464", taken apart.
struct HostPort {
  std::string host;  ///< Without the brackets of an IPv6 address; "127.0.0.1" where none was given.
  std::uint16_t port;
};

bool in_brackets(std::string_view host) { return host.starts_with('[') && host.ends_with(']'); }

HostPort parse_host_port(std::string_view text) {
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw_bad_address(text.substr(0, nul), "it has a NUL");
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(':') || text.ends_with(']')) {
    throw_bad_address(text, "there is no port");
  }
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || rest != digits.data() + digits.size()) {
    throw_bad_address(text, "the port is no number from 0 to 65535");
  }
  std::string_view host = text.substr(0, colon);
  if (in_brackets(host)) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) {
      throw_bad_address(text, "no IPv6 address in the brackets");
    }
  } else if (host.find_first_of(":[]") != std::string_view::npos) {
    throw_bad_address(text, "an IPv6 address stands in brackets");
  }
  if (host.empty()) host = "127.0.0.1";
  return {.host = std::string(host), .port = port};
}

/// The same in digits, where one can listen there.
std::string checked_address(const std::string& address) {
  const HostPort asked = parse_host_port(address);
  const os::ListenAddress found = os::find_listen_address(asked.host, asked.port);
  if (!found.why.empty()) throw_bad_address(address, found.why);
  if (found.error != 0) {
    throw SystemError({.call = found.call, .number = found.error, .path = found.text},
                      "give another HOST:PORT; port 0 is any that is free");
  }
  return found.text;
}

/// CivetWeb does not say what it could not do. That of Debian has no IPv6.
[[noreturn]] void throw_no_server(const std::string& address) {
  static_cast<void>(checked_address(address));  // the port may have been taken meanwhile
  if (address.starts_with('[')) {
    throw SystemError({.call = "listen", .number = EAFNOSUPPORT, .path = address},
                      "this CivetWeb has no IPv6: give an IPv4 address");
  }
  throw SystemError({.call = "pthread_create", .number = EAGAIN, .path = address});
}

std::string with_port(const std::string& address, int port) {
  return address.substr(0, address.rfind(':') + 1) + std::to_string(port);
}

}  // namespace

struct MetricsServer::State {
  std::shared_ptr<LayoutCollector> collector{};  // outlives the exposer, which joins its threads
  std::string address{};
  std::optional<prometheus::Exposer> exposer{};
};

MetricsServer::MetricsServer(std::vector<WatchedLayout> layouts, const std::string& address,
                             SnapshotOptions options)
    : state_(std::make_unique<State>()) {
  state_->collector = std::make_shared<LayoutCollector>(std::move(layouts), std::move(options));
  state_->address = checked_address(address);
  try {
    state_->exposer.emplace(state_->address);
  } catch (const std::exception&) {
    throw_no_server(state_->address);
  }
  state_->exposer->RegisterCollectable(state_->collector);
  state_->address = with_port(state_->address, state_->exposer->GetListeningPorts().at(0));
}

// CivetWeb looks whether it must stop only every two seconds, and at each connection.
MetricsServer::~MetricsServer() {
  std::optional<std::jthread> visitor;
  try {
    visitor.emplace([here = parse_host_port(state_->address)](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        os::knock(here.host, here.port);
        std::this_thread::sleep_for(kBetweenKnocks);
      }
    });
  } catch (const std::exception&) {  // without a thread it takes its two seconds
  }
  state_->exposer.reset();
}

const std::string& MetricsServer::address() const noexcept { return state_->address; }

}  // namespace tapedeck::inline TAPEDECK_ABI
