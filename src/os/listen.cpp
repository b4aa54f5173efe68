#include "os/listen.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

#include "os/descriptor.hpp"
#include "os/faults.hpp"

namespace tapedeck::internal::os {
namespace {

struct Found {
  int error;  ///< Of getaddrinfo.
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses;
};

Found look_up(const std::string& host, std::uint16_t port) {
  addrinfo wanted{};
  wanted.ai_flags = AI_NUMERICSERV;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &first);
  return {.error = error, .addresses = {first, ::freeaddrinfo}};
}

const addrinfo* preferred(const addrinfo* first) {
  for (const addrinfo* one = first; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET) return one;
  }
  return first;
}

std::string in_digits(const addrinfo& address, std::uint16_t port) {
  std::array<char, NI_MAXHOST> host{};
  if (::getnameinfo(address.ai_addr, address.ai_addrlen, host.data(), host.size(), nullptr, 0,
                    NI_NUMERICHOST) != 0) {
    return {};
  }
  const std::string digits = host.data();
  return (address.ai_family == AF_INET6 ? "[" + digits + "]" : digits) + ":" + std::to_string(port);
}

// As whoever listens does, but for no longer than this call.
void try_to_listen(const addrinfo& address, ListenAddress& result) {
  const auto failed = [&result](const char* call, int error) {
    result.call = call;
    result.error = error;
  };
  if (const int error = injected("socket")) return failed("socket", error);
  const Descriptor socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return failed("socket", errno);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.ai_family == AF_INET6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (const int error = injected("bind")) return failed("bind", error);
  if (::bind(socket.get(), address.ai_addr, address.ai_addrlen) != 0) return failed("bind", errno);
  if (::listen(socket.get(), 1) != 0) failed("listen", errno);
}

}  // namespace

ListenAddress find_listen_address(const std::string& host, std::uint16_t port) {
  const Found found = look_up(host, port);
  if (found.error != 0) {
    return {.why = "no address of \"" + host + "\": " + ::gai_strerror(found.error)};
  }
  const addrinfo& address = *preferred(found.addresses.get());
  ListenAddress result = {.text = in_digits(address, port)};
  try_to_listen(address, result);
  return result;
}

void knock(const std::string& host, std::uint16_t port) {
  const Found found = look_up(host, port);
  if (found.error != 0) return;
  const addrinfo& address = *preferred(found.addresses.get());
  const Descriptor socket(
      ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  static_cast<void>(::connect(socket.get(), address.ai_addr, address.ai_addrlen));
}

}  // namespace tapedeck::internal::os
