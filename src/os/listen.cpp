// SPDX-License-Identifier: Apache-2.0
#include "os/listen.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "os/faults.hpp"

namespace tapedeck::internal::os {
namespace {

const addrinfo* preferred(const addrinfo* first) {
  for (const addrinfo* one = first; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET) return one;
  }
  return first;
}

std::string in_digits(const sockaddr* address, socklen_t bytes) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getnameinfo(address, bytes, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {};
  }
  const std::string digits = host.data();
  return (address->sa_family == AF_INET6 ? "[" + digits + "]" : digits) + ":" + port.data();
}

void listen_at_address(const addrinfo& address, Listening& result) {
  const auto failed = [&result](const char* call, int error) {
    result.call = call;
    result.error = error;
  };
  if (const int error = injected("socket")) return failed("socket", error);
  Descriptor socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return failed("socket", errno);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.ai_family == AF_INET6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (const int error = injected("bind")) return failed("bind", error);
  if (::bind(socket.get(), address.ai_addr, address.ai_addrlen) != 0) return failed("bind", errno);
  if (::listen(socket.get(), SOMAXCONN) != 0) return failed("listen", errno);

  sockaddr_storage bound{};
  socklen_t bytes = sizeof bound;
  auto* const at = reinterpret_cast<sockaddr*>(&bound);
  if (::getsockname(socket.get(), at, &bytes) != 0) return failed("getsockname", errno);
  result.address = in_digits(at, bytes);
  result.socket = std::move(socket);
}

}  // namespace

Listening listen_at(const std::string& host, std::uint16_t port) {
  addrinfo wanted{};
  wanted.ai_flags = AI_NUMERICSERV;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &first);
  if (error != 0) return {.why = "cannot resolve \"" + host + "\": " + ::gai_strerror(error)};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(first, ::freeaddrinfo);
  const addrinfo& address = *preferred(first);
  Listening result = {.address = in_digits(address.ai_addr, address.ai_addrlen)};
  listen_at_address(address, result);
  return result;
}

}  // namespace tapedeck::internal::os
