#include "os/socket.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "os/faults.hpp"

namespace tapedeck::internal::os {
namespace {

constexpr std::size_t kMostDescriptors = 4;

/// A message of one byte, which carries descriptors.
struct Envelope {
  explicit Envelope(std::size_t control_bytes) noexcept {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control_bytes;
  }
  Envelope(const Envelope&) = delete;  // it points into itself
  Envelope& operator=(const Envelope&) = delete;

  char carrier = 'T';
  iovec part = {.iov_base = &carrier, .iov_len = 1};
  // The kernel wants it aligned as its header is.
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  msghdr message{};
};

int descriptor_at(const cmsghdr* header, std::size_t index) noexcept {
  int number = -1;
  std::memcpy(&number, CMSG_DATA(header) + index * sizeof number, sizeof number);
  return number;
}

}  // namespace

int send_descriptor(int socket, int descriptor) noexcept {
  if (const int error = injected("sendmsg")) return error;
  Envelope envelope(CMSG_SPACE(sizeof descriptor));
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
  Envelope envelope(sizeof(Envelope::control));
  msghdr& message = envelope.message;
  ssize_t got = -1;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return {.error = errno, .call = "recvmsg"};
  if (got == 0) return {.error = EPIPE, .call = "recvmsg"};
  // Whatever came is owned from here on, also where it is too much.
  Descriptor first;
  std::size_t count = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < here; ++i, ++count) {
      Descriptor one(descriptor_at(header, i));
      if (count == 0) first = std::move(one);
    }
  }
  if (count != 1 || (message.msg_flags & MSG_CTRUNC) != 0) {
    return {.error = EBADMSG, .call = "recvmsg"};
  }
  return {.descriptor = std::move(first)};
}

}  // namespace tapedeck::internal::os
