// SPDX-License-Identifier: Apache-2.0
#include "os/socket.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "os/faults.hpp"

namespace tapedeck::internal::os {
namespace {

/// A message of one byte that carries a descriptor.
struct Envelope {
  Envelope() noexcept {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_LEN(sizeof(int));  // CMSG_SPACE would admit a second descriptor
  }
  Envelope(const Envelope&) = delete;  // it points into itself
  Envelope& operator=(const Envelope&) = delete;

  char carrier = 'T';
  iovec part = {.iov_base = &carrier, .iov_len = 1};
  // The kernel requires the alignment of the header.
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
};

/// The descriptor that a received message carries, or none.
Descriptor descriptor_in(const msghdr& message) noexcept {
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return {};
  }
  int number = -1;
  std::memcpy(&number, CMSG_DATA(header), sizeof number);
  return Descriptor(number);
}

}  // namespace

int send_descriptor(int socket, int descriptor) noexcept {
  if (const int error = injected("sendmsg")) return error;
  Envelope envelope;
  msghdr& message = envelope.message;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

Opened receive_descriptor(int socket) noexcept {
  if (const int error = injected("recvmsg")) return {.error = error, .call = "recvmsg"};
  Envelope envelope;
  msghdr& message = envelope.message;
  ssize_t got = -1;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return {.error = errno, .call = "recvmsg"};
  // Owned before anything is checked: even a message of 0 bytes may carry descriptors.
  Descriptor received = descriptor_in(message);
  // The kernel has closed the descriptors that did not fit.
  const bool cut = (message.msg_flags & MSG_CTRUNC) != 0;
  if (got == 0 && !received && !cut) return {.error = EPIPE, .call = "recvmsg"};
  if (got == 0 || !received || cut) return {.error = EBADMSG, .call = "recvmsg"};
  return {.descriptor = std::move(received)};
}

}  // namespace tapedeck::internal::os
