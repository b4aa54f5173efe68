/// @file
/// Descriptors that travel over Unix sockets.
#pragma once

#include "os/descriptor.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Sends a descriptor, with one byte that carries it. Gives errno.
[[nodiscard]] int send_descriptor(int socket, int descriptor) noexcept;

/// Waits for a descriptor. EPIPE where the other end has gone, EBADMSG where what came carries
/// none, or more than one.
[[nodiscard]] Opened receive_descriptor(int socket) noexcept;

}  // namespace tapedeck::internal::os
