#include "tapedeck/telemetry/metrics/metrics_server.hpp"

#include <prometheus/exposer.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

#include "os/listen.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/metrics/collector.hpp"
#include "telemetry/metrics/host_port.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

constexpr auto kBetweenKnocks = std::chrono::milliseconds(10);

os::ListenAddress find(const std::string& address) {
  const internal::HostPort asked = internal::parse_host_port(address);
  return os::find_listen_address(asked.host, asked.port);
}

/// The same in digits, where one can listen there.
std::string checked_address(const std::string& address) {
  const os::ListenAddress found = find(address);
  if (!found.why.empty()) {
    throw InvalidArgument({.argument = "address"},
                          "the metrics address \"" + address + "\" cannot be used: " + found.why,
                          "give HOST:PORT of this host");
  }
  if (found.error != 0) {
    throw SystemError({.call = found.call, .number = found.error, .path = found.text},
                      "give another HOST:PORT; port 0 is any that is free");
  }
  return found.text;
}

/// CivetWeb does not say what it could not do. That of Debian has no IPv6.
[[noreturn]] void tell_why(const std::string& address) {
  static_cast<void>(checked_address(address));  // somebody may have been faster
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

class MetricsServer::State {
 public:
  State(std::vector<WatchedLayout> layouts, const std::string& address, SnapshotOptions options)
      : collector_(std::make_shared<LayoutCollector>(std::move(layouts), std::move(options))),
        address_(checked_address(address)) {
    try {
      exposer_.emplace(address_);
    } catch (const std::exception&) {
      tell_why(address_);
    }
    exposer_->RegisterCollectable(collector_);
    address_ = with_port(address_, exposer_->GetListeningPorts().at(0));
  }

  // CivetWeb looks up only every two seconds, unless somebody knocks.
  ~State() {
    const internal::HostPort here = internal::parse_host_port(address_);
    std::optional<std::jthread> visitor;
    try {
      visitor.emplace([here](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          os::knock(here.host, here.port);
          std::this_thread::sleep_for(kBetweenKnocks);
        }
      });
    } catch (const std::system_error&) {  // without a thread it takes its two seconds
    }
    exposer_.reset();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  std::shared_ptr<LayoutCollector> collector_;  // outlives the exposer, which joins its threads
  std::string address_;
  std::optional<prometheus::Exposer> exposer_;
};

MetricsServer::MetricsServer(std::vector<WatchedLayout> layouts, const std::string& address,
                             SnapshotOptions options)
    : state_(std::make_unique<State>(std::move(layouts), address, std::move(options))) {}

MetricsServer::~MetricsServer() = default;

const std::string& MetricsServer::address() const noexcept { return state_->address(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
