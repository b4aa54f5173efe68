// SPDX-License-Identifier: Apache-2.0
/// @file
/// Sending and receiving descriptors over Unix sockets.
#pragma once

#include "os/descriptor.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Sends a descriptor in a message of one byte. Returns errno.
[[nodiscard]] int send_descriptor(int socket, int descriptor) noexcept;

/// Waits for a descriptor. The error is EPIPE if the other end was closed, or EBADMSG if the
/// message does not carry exactly one descriptor.
[[nodiscard]] Opened receive_descriptor(int socket) noexcept;

}  // namespace tapedeck::internal::os
