// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/metrics/metrics_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <signal.h>
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "os/child.hpp"
#include "os/faults.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/http.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
using namespace std::string_view_literals;
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Property;
using ::testing::StartsWith;
using ::testing::Throws;

/// The connections that wait to be accepted, from the listening socket's line in the kernel's
/// table.
std::size_t not_accepted(std::uint16_t port) {
  std::array<char, 64> listens{};
  std::snprintf(listens.data(), listens.size(),
                "0100007F:%04X 00000000:0000 0A 00000000:", unsigned{port});
  const std::string table = text_of("/proc/net/tcp");
  const std::size_t at = table.find(listens.data());
  if (at == std::string::npos) return 0;
  return std::stoul(table.substr(at + std::strlen(listens.data()), 8), nullptr, 16);
}

class Served : public ::testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<MetricsServer> serve(const std::string& address,
                                                     const MetricsServerLimits& limits = {}) const {
    return std::make_unique<MetricsServer>(std::vector<WatchedLayout>{{&layout_, "chat"}}, address,
                                           SnapshotOptions(), limits);
  }
  static constexpr const char* kHalf = "GET /metrics HTTP/1.1\r\n";
  static constexpr const char* kRest = "Host: x\r\n\r\n";
  /// Sends a request, or the rest of one, and returns whether it is answered.
  [[nodiscard]] static bool is_answered(const Socket& one, const std::string& request) {
    one.send(request);
    return one.read_until(is_whole).starts_with("HTTP/1.1 200");
  }
  Layout layout_{{.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB}};
};

TEST_F(Served, IsScrapedWhereItSaysItListens) {
  const auto server = serve("127.0.0.1:0");
  EXPECT_THAT(server->address(), MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  const std::uint16_t port = port_of(server->address());
  const auto passes = [port] {
    return series_of(http_get(port, "/metrics"))
        .at("tapedeck_layout_passes_total{layout=\"chat\"}");
  };
  EXPECT_EQ(passes(), 0);
  layout_.clear_pass();
  EXPECT_EQ(passes(), 1);
  EXPECT_EQ(http_get(port, "/etc/passwd"), "");
  EXPECT_EQ(http_get(port, "/"), "");
}

// The child closes its copy of the listening socket, so that the port is free after the parent.
TEST_F(Served, EndsInAForkedChild) {
  auto server = serve("127.0.0.1:0");
  in_child([&] {
    const std::size_t before = open_descriptors().size();
    server.reset();
    EXPECT_EQ(open_descriptors().size(), before - 1);
  });
  EXPECT_NE(http_get(port_of(server->address()), "/metrics"), "");
}

TEST_F(Served, ListensWhereItIsTold) {
  const std::uint16_t port = free_port();
  const auto named = serve("127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(port_of(named->address()), port);
  EXPECT_NE(http_get(port, "/metrics"), "");
  const auto everywhere = serve("0.0.0.0:0");
  EXPECT_THAT(everywhere->address(), StartsWith("0.0.0.0:"));
  EXPECT_NE(http_get(port_of(everywhere->address()), "/metrics"), "");
  if (::gethostbyname("localhost") == nullptr) GTEST_SKIP() << "localhost has no address here";
  EXPECT_THAT(serve("localhost:0")->address(), StartsWith("127.0.0.1:"));
}

TEST_F(Served, ListensAtLoopbackUnlessToldOtherwise) {
  const auto server = serve(":0");
  EXPECT_THAT(server->address(), StartsWith("127.0.0.1:"));
  // In the kernel's format: 0100007F is 127.0.0.1, and 0A is the state of listening.
  std::array<char, 32> entry{};
  std::snprintf(entry.data(), entry.size(), "0100007F:%04X 00000000:0000 0A",
                unsigned{port_of(server->address())});
  EXPECT_NE(text_of("/proc/net/tcp").find(entry.data()), std::string::npos);
}

TEST_F(Served, ListensAtIpv6) {
  try {  // a machine may not have IPv6
    const auto server = serve("[::1]:0");
    EXPECT_THAT(server->address(), MatchesRegex("\\[::1\\]:[1-9][0-9]*"));
    EXPECT_TRUE(http(port_of(server->address()), "GET", "/metrics", "", "HTTP/1.1", AF_INET6).good);
  } catch (const SystemError& error) {
    EXPECT_TRUE(error.number() == EAFNOSUPPORT || error.number() == EADDRNOTAVAIL) << error.what();
    GTEST_SKIP() << error.what();
  }
}

TEST_F(Served, IsGoneWithItsObject) {
  auto server = serve(":0");
  const std::string address = server->address();
  EXPECT_NE(http_get(port_of(address), "/metrics"), "");
  server.reset();
  EXPECT_EQ(http_get(port_of(address), "/metrics"), "");
  EXPECT_EQ(serve(address)->address(), address);  // immediately, a second time
}

TEST_F(Served, RefusesWhatIsNoAddressAndLayoutsItCannotTellApart) {
  EXPECT_THROW(MetricsServer({{&layout_, "a"}, {&layout_, "a"}}, ":0"), InvalidArgument);
  for (const std::string_view none : {"127.0.0.1"sv,
                                      "localhost"sv,
                                      "9464"sv,
                                      ":"sv,
                                      "127.0.0.1:"sv,
                                      "[::1]"sv,
                                      "[::1]:"sv,
                                      ":x"sv,
                                      ":-1"sv,
                                      ":65536"sv,
                                      ":99999999999999999999"sv,
                                      ":9464x"sv,
                                      ":94 64"sv,
                                      ":80s"sv,
                                      ":+80"sv,
                                      ": 80"sv,
                                      "::1:9464"sv,
                                      "[::1:9464"sv,
                                      "::1]:9464"sv,
                                      "http://localhost:80"sv,
                                      "127.0.0.1:80,127.0.0.1:81"sv,
                                      "[127.0.0.1]:80"sv,
                                      "+80:81"sv,
                                      "nowhere.invalid:80"sv,
                                      "a\0b:80"sv,
                                      ""sv}) {
    const auto error = thrown<InvalidArgument>([&] { (void)serve(std::string(none)); });
    EXPECT_EQ(error.argument(), "address") << error.what();
  }
}

TEST_F(Served, SaysWhatRefusedThePort) {
  const Socket other;
  const std::string taken = "127.0.0.1:" + std::to_string(other.listen());
  EXPECT_THAT([&] { (void)serve(taken); },
              Throws<SystemError>(AllOf(Property(&SystemError::number, EADDRINUSE),
                                        Property(&SystemError::path, taken))));
  // No host has this address (RFC 5737).
  EXPECT_THAT([&] { (void)serve("192.0.2.1:9464"); },
              Throws<SystemError>(Property(&SystemError::number, EADDRNOTAVAIL)));
}

TEST_F(Served, SaysWhichCallFailed) {
  for (const std::uint64_t k : {1U, 2U}) {
    const os::InjectFault fault(k, EMFILE);
    EXPECT_THROW((void)serve(":0"), SystemError);
    EXPECT_STREQ(os::InjectFault::victim(), k == 1 ? "socket" : "bind");
  }
}

TEST_F(Served, StandsScrapersThatBreakOff) {
  const auto server = serve(":0");
  const std::uint16_t port = port_of(server->address());
  for (int i = 0; i < 50; ++i) {
    const Socket rude;
    ASSERT_TRUE(rude.connect(port));
    rude.break_off_at_close();
    if (i % 2 == 0) rude.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    if (i % 5 == 0) rude.send("nonsense\r\n\r\n");
  }
  EXPECT_NE(http_get(port, "/metrics"), "");
}

TEST_F(Served, AnswersBesideScrapersThatStaySilent) {
  const auto server = serve(":0");
  const std::uint16_t port = port_of(server->address());
  const std::vector<Socket> silent(100);
  for (const Socket& one : silent) ASSERT_TRUE(one.connect(port));
  EXPECT_NE(http_get(port, "/metrics"), "");
}

TEST_F(Served, LeavesConnectionsBeyondItsLimitWaiting) {
  const auto server = serve(":0", {.connections = 1, .idle = std::chrono::hours(1)});
  const std::uint16_t port = port_of(server->address());
  const std::vector<Socket> all(3);
  for (const Socket& one : all) {
    ASSERT_TRUE(one.connect(port));
    one.send(kHalf);
  }
  EXPECT_TRUE(comes_true([port] { return not_accepted(port) == 2; }));
  for (const Socket& one : all) EXPECT_TRUE(is_answered(one, kRest));
}

TEST_F(Served, ClosesWhatIsBeyondTheLimitOfAnAddress) {
  const auto server = serve(":0", {.connections_per_address = 2, .idle = std::chrono::hours(1)});
  const std::vector<Socket> all(3);
  for (const Socket& one : all) ASSERT_TRUE(one.connect(port_of(server->address())));
  EXPECT_TRUE(all[2].is_closed());
  for (const std::size_t i : {0U, 1U}) EXPECT_TRUE(is_answered(all[i], std::string(kHalf) + kRest));
}

TEST_F(Served, ClosesSilentConnections) {
  const auto server = serve(":0", {.idle = std::chrono::seconds(1)});
  const std::uint16_t port = port_of(server->address());
  const Socket silent;
  const Socket half;
  ASSERT_TRUE(silent.connect(port) && half.connect(port));
  half.send(kHalf);
  EXPECT_TRUE(silent.is_closed() && half.is_closed());
}

TEST_F(Served, RefusesLimitsThatItCannotKeep) {
  using std::chrono::seconds;
  const std::vector<std::pair<MetricsServerLimits, std::string>> wrong = {
      {{.connections = 0}, "MetricsServerLimits::connections"},
      {{.idle = seconds(0)}, "MetricsServerLimits::idle"},
      {{.idle = seconds(-1)}, "MetricsServerLimits::idle"},
      {{.idle = seconds::max()}, "MetricsServerLimits::idle"}};
  for (const auto& [limits, argument] : wrong) {
    const auto error =
        thrown<InvalidArgument>([&, &limits = limits] { (void)serve(":0", limits); });
    EXPECT_EQ(error.argument(), argument);
  }
}

// It does not wait for clients that are silent, or that do not read what they have asked for.
TEST_F(Served, StopsWhileConnectionsAreOpen) {
  auto server = serve(":0", {.idle = std::chrono::hours(1)});
  const std::vector<Socket> open(50);
  for (std::size_t i = 0; i < open.size(); ++i) {
    ASSERT_TRUE(open[i].connect(port_of(server->address())));
    if (i % 3 == 1) open[i].send(kHalf);
    if (i % 3 == 2) open[i].send(std::string(kHalf) + kRest);
  }
  EXPECT_NE(http_get(port_of(server->address()), "/metrics"), "");
  server.reset();
  for (const Socket& one : open) EXPECT_TRUE(one.is_closed());
}

TEST_F(Served, AnswersHeadWithTheHeadOnly) {
  const auto server = serve(":0");
  const Answer head = http(port_of(server->address()), "HEAD", "/metrics");
  EXPECT_TRUE(head.good);
  EXPECT_EQ(head.text, "");
}

TEST_F(Served, SaysWhyItAnswersNothingElse) {
  const auto server = serve(":0");
  const std::uint16_t port = port_of(server->address());
  EXPECT_THAT(http(port, "GET", "/").text, StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(http(port, "POST", "/metrics").text,
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("\r\nAllow: GET, HEAD\r\n")));
  EXPECT_TRUE(http(port, "HEAD", "/metrics").good);
}

// However far it gets, no descriptor is left open, and none is closed twice.
TEST_F(Served, LeavesNothingBehindWhereItCannotStart) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  const std::multiset<std::string> before = open_descriptors();
  struct rlimit limit {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlim_t most = limit.rlim_cur;
  bool started = false;
  for (rlim_t descriptors = 3; !started; ++descriptors) {
    limit.rlim_cur = descriptors;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    try {
      started = serve(":0") != nullptr;
    } catch (const SystemError& error) {
      EXPECT_EQ(error.number(), EMFILE) << error.what();
    }
  }
  limit.rlim_cur = most;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Served, LeavesSignalsAlone) {
  std::map<int, struct sigaction> before;
  for (int signal = 1; signal < 32; ++signal) ::sigaction(signal, nullptr, &before[signal]);
  const auto server = serve(":0");
  EXPECT_NE(http_get(port_of(server->address()), "/metrics"), "");
  for (const auto& [signal, action] : before) {
    struct sigaction after {};
    ::sigaction(signal, nullptr, &after);
    EXPECT_EQ(after.sa_handler, action.sa_handler) << signal;
  }
}

}  // namespace
}  // namespace tapedeck::tests
