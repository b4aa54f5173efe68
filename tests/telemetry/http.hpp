// SPDX-License-Identifier: Apache-2.0
/// @file
/// A minimal HTTP implementation for tests: loopback, one request per connection.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

namespace tapedeck::tests {

/// The port of an address such as "127.0.0.1:9464".
[[nodiscard]] inline std::uint16_t port_of(const std::string& address) {
  return static_cast<std::uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
}

/// A TCP socket on 127.0.0.1 or ::1.
class Socket {
 public:
  explicit Socket(int family = AF_INET)
      : family_(family), number_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience = {.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(number_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Socket() { ::close(number_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  [[nodiscard]] bool connect(std::uint16_t port) const {
    if (family_ == AF_INET6) return connect_6(port);
    const sockaddr_in at = loopback(port);
    return ::connect(number_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
  }
  /// Listens on a free port, and returns it.
  [[nodiscard]] std::uint16_t listen() const {
    sockaddr_in at = loopback(0);
    socklen_t bytes = sizeof at;
    if (::bind(number_, reinterpret_cast<const sockaddr*>(&at), bytes) != 0) return 0;
    if (::listen(number_, 1) != 0) return 0;
    ::getsockname(number_, reinterpret_cast<sockaddr*>(&at), &bytes);
    return ntohs(at.sin_port);
  }
  void send(const std::string& text) const {
    static_cast<void>(::send(number_, text.data(), text.size(), MSG_NOSIGNAL));
  }
  /// Waits, up to a minute, until the other end has closed the connection.
  [[nodiscard]] bool is_closed() const {
    char byte = 0;
    ssize_t got = 0;
    while ((got = ::recv(number_, &byte, 1, 0)) > 0) {
    }
    return got == 0 || errno == ECONNRESET;
  }
  /// Reads until `enough` holds for the text, or until its end.
  [[nodiscard]] std::string read_until(bool (*enough)(const std::string&)) const {
    std::string all;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = ::recv(number_, part.data(), part.size(), 0)) > 0;) {
      all.append(part.data(), static_cast<std::size_t>(got));
      if (enough(all)) break;
    }
    return all;
  }
  /// Closes the connection with a reset, whatever the other end was about to send.
  void break_off_at_close() const {
    const linger none = {.l_onoff = 1, .l_linger = 0};
    ::setsockopt(number_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  }

 private:
  [[nodiscard]] bool connect_6(std::uint16_t port) const {
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    at.sin6_port = htons(port);
    at.sin6_addr = in6addr_loopback;
    return ::connect(number_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
  }
  [[nodiscard]] static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
  }

  int family_;
  int number_;
};

/// A port that was free a moment ago.
[[nodiscard]] inline std::uint16_t free_port() { return Socket().listen(); }

/// Whether an answer with a Content-Length is complete. Not every server closes the connection.
[[nodiscard]] inline bool is_whole(const std::string& answer) {
  static constexpr const char* kLength = "Content-Length:";
  const std::size_t head_end = answer.find("\r\n\r\n");
  if (head_end == std::string::npos) return false;
  const std::size_t length = answer.find(kLength);
  return length < head_end &&
         answer.size() - head_end - 4 >= std::stoul(answer.substr(length + std::strlen(kLength)));
}

/// Returns the answer, without its head if the status is 200; empty if no server answers.
struct Answer {
  bool good = false;
  std::string text{};
};

[[nodiscard]] inline Answer http(std::uint16_t port, const std::string& method,
                                 const std::string& path, const std::string& body = {},
                                 const std::string& protocol = "HTTP/1.0", int family = AF_INET) {
  const Socket socket(family);
  if (!socket.connect(port)) return {};
  socket.send(method + " " + path + " " + protocol +
              "\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
  const std::string answer = socket.read_until(is_whole);
  const std::size_t head_end = answer.find("\r\n\r\n");
  const bool good = answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200");
  if (!good || head_end == std::string::npos) return {.good = false, .text = answer};
  return {.good = true, .text = answer.substr(head_end + 4)};
}

/// Returns the body of the answer to `GET path`; empty unless the status is 200.
[[nodiscard]] inline std::string http_get(std::uint16_t port, const std::string& path) {
  const Answer answer = http(port, "GET", path);
  return answer.good ? answer.text : "";
}

}  // namespace tapedeck::tests
