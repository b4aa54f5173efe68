// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/metrics/metrics_server.hpp"

#include <microhttpd.h>
#include <prometheus/text_serializer.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "os/file.hpp"
#include "os/listen.hpp"
#include "os/own_process.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/metrics/collector.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

[[noreturn]] void throw_bad_address(std::string_view text, const std::string& why) {
  throw InvalidArgument({.argument = "address"},
                        "the metrics address \"" + std::string(text) + "\" cannot be used: " + why,
                        "use HOST:PORT with an address of this host, such as 127.0.0.1:9464");
}

/// The parts of an address such as "127.0.0.1:9464".
struct HostPort {
  std::string host;  ///< Without the brackets of an IPv6 address; "127.0.0.1" by default.
  std::uint16_t port;
};

bool in_brackets(std::string_view host) { return host.starts_with('[') && host.ends_with(']'); }

HostPort parse_host_port(std::string_view text) {
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw_bad_address(text.substr(0, nul), "it contains a NUL");
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(':') || text.ends_with(']')) {
    throw_bad_address(text, "it has no port");
  }
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || rest != digits.data() + digits.size()) {
    throw_bad_address(text, "the port is not a number from 0 to 65535");
  }
  std::string_view host = text.substr(0, colon);
  if (in_brackets(host)) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) {
      throw_bad_address(text, "the brackets do not contain an IPv6 address");
    }
  } else if (host.find_first_of(":[]") != std::string_view::npos) {
    throw_bad_address(text, "an IPv6 address must be in brackets");
  }
  if (host.empty()) host = "127.0.0.1";
  return {.host = std::string(host), .port = port};
}

os::Listening listen(const std::string& address) {
  const HostPort asked = parse_host_port(address);
  os::Listening listening = os::listen_at(asked.host, asked.port);
  if (!listening.why.empty()) throw_bad_address(address, listening.why);
  if (listening.error != 0) {
    throw SystemError(
        {.call = listening.call, .number = listening.error, .path = listening.address},
        "use another HOST:PORT; port 0 stands for any free port");
  }
  return listening;
}

MHD_Result respond(MHD_Connection* connection, unsigned status, std::string_view text) {
  // The text is copied, since the response may outlive this call.
  MHD_Response* const response = ::MHD_create_response_from_buffer(
      text.size(), const_cast<char*>(text.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  ::MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                            "text/plain; version=0.0.4; charset=utf-8");
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
    ::MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  }
  const MHD_Result queued = ::MHD_queue_response(connection, status, response);
  ::MHD_destroy_response(response);
  return queued;
}

MHD_Result answer(void* collector, MHD_Connection* connection, const char* url, const char* method,
                  const char* /*version*/, const char* /*upload*/, std::size_t* /*upload_bytes*/,
                  void** /*request*/) noexcept {
  if (url != std::string_view("/metrics")) {
    return respond(connection, MHD_HTTP_NOT_FOUND, "metrics are at /metrics\n");
  }
  if (method != std::string_view("GET") && method != std::string_view("HEAD")) {
    return respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                   "metrics can only be read: use GET or HEAD\n");
  }
  try {
    return respond(connection, MHD_HTTP_OK,
                   prometheus::TextSerializer().Serialize(
                       static_cast<const LayoutCollector*>(collector)->Collect()));
  } catch (const std::exception& error) {
    return respond(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, error.what());
  }
}

void check(const MetricsServerLimits& limits) {
  if (limits.connections == 0) {
    throw InvalidArgument({.argument = "MetricsServerLimits::connections", .value = 0, .limit = 1},
                          "a metrics server without connections cannot be scraped",
                          "allow at least one");
  }
  constexpr std::chrono::seconds kMost = std::chrono::hours(24);
  if (limits.idle >= std::chrono::seconds(1) && limits.idle <= kMost) return;
  throw InvalidArgument(
      {.argument = "MetricsServerLimits::idle", .limit = limits.idle > kMost ? kMost.count() : 1},
      "an idle time of " + std::to_string(limits.idle.count()) +
          " s is not one after which a metrics server can close a connection",
      "use 1 s to 24 h");
}

struct StopDaemon {
  void operator()(MHD_Daemon* daemon) const noexcept { ::MHD_stop_daemon(daemon); }
};

}  // namespace

struct MetricsServer::State {
  LayoutCollector collector;
  std::string address{};
  os::OwnProcess process{};
  int socket = -1;  // the daemon owns it
  // Declared last, so destroyed first: its thread uses the collector.
  std::unique_ptr<MHD_Daemon, StopDaemon> daemon{};
};

MetricsServer::MetricsServer(std::vector<WatchedLayout> layouts, const std::string& address,
                             SnapshotOptions options, MetricsServerLimits limits)
    : state_(new State{.collector = LayoutCollector(std::move(layouts), std::move(options))}) {
  check(limits);
  os::Listening listening = listen(address);
  const int socket = listening.socket.get();
  const std::uint64_t identity = os::facts(socket).stamp;
  state_->daemon.reset(::MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD, 0, nullptr, nullptr, &answer, &state_->collector,
      MHD_OPTION_LISTEN_SOCKET, socket, MHD_OPTION_CONNECTION_LIMIT, limits.connections,
      MHD_OPTION_PER_IP_CONNECTION_LIMIT, limits.connections_per_address,
      MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(limits.idle.count()), MHD_OPTION_END));
  const int error = errno;
  // A running daemon owns the socket. One that failed to start may have closed it, depending on the
  // step that failed; another thread may have reused the descriptor by now.
  if (state_->daemon || os::facts(socket).stamp != identity) listening.socket.release();
  if (!state_->daemon) {
    throw SystemError({.call = "MHD_start_daemon", .number = error, .path = listening.address});
  }
  state_->address = listening.address;
  state_->socket = socket;
}

// In a forked child there is no thread to stop. The state is leaked, and the copy of the socket is
// closed so that the port is free as soon as the parent has stopped.
MetricsServer::~MetricsServer() {
  if (state_->process.is_here()) return;
  const os::Descriptor copy(state_.release()->socket);
}

const std::string& MetricsServer::address() const noexcept { return state_->address; }

}  // namespace tapedeck::inline TAPEDECK_ABI
