// SPDX-License-Identifier: Apache-2.0
#include "os/ring.hpp"

#include <cerrno>
#include <mutex>
#include <utility>

#include "os/faults.hpp"

#if defined(TAPEDECK_LIBURING)
#include <liburing.h>
#else
struct io_uring {};
#endif

namespace tapedeck::internal::os {

#if defined(TAPEDECK_LIBURING)

namespace {

// A queue may be mapped where another one was unmapped. The kernel serializes the two operations,
// but ThreadSanitizer does not see liburing's own system calls; it sees this mutex.
std::mutex mapping;

}  // namespace

std::unique_ptr<Ring> Ring::make(unsigned depth) {
  if (injected("io_uring_setup") != 0) return nullptr;
  std::unique_ptr<Ring> made(new Ring);
  auto queue = std::make_unique<io_uring>();
  const std::lock_guard lock(mapping);
  if (::io_uring_queue_init(depth, queue.get(), 0) != 0) return nullptr;
  made->queue_ = std::move(queue);
  return made;
}

int Ring::read(int descriptor, std::span<std::byte> into, std::uint64_t offset,
               std::uint64_t tag) noexcept {
  if (const int error = injected("io_uring_enter")) return error;
  io_uring_sqe* const entry = ::io_uring_get_sqe(queue_.get());
  if (entry == nullptr) return EBUSY;
  ::io_uring_prep_read(entry, descriptor, into.data(), static_cast<unsigned>(into.size()), offset);
  ::io_uring_sqe_set_data64(entry, tag);
  const int result = ::io_uring_submit(queue_.get());
  if (result < 0) return -result;
  ++under_way_;
  return 0;
}

Ring::Done Ring::wait() noexcept {
  io_uring_cqe* entry = nullptr;
  int result = -EINTR;
  while (result == -EINTR) result = ::io_uring_wait_cqe(queue_.get(), &entry);
  if (result < 0) return {.wait_error = -result};
  Done done = {.tag = ::io_uring_cqe_get_data64(entry)};
  if (entry->res < 0) {
    done.error = -entry->res;
  } else {
    done.bytes = static_cast<std::size_t>(entry->res);
  }
  ::io_uring_cqe_seen(queue_.get(), entry);
  --under_way_;
  return done;
}

Ring::~Ring() {
  while (under_way_ != 0 && wait().wait_error == 0) continue;
  const std::lock_guard lock(mapping);
  if (queue_) ::io_uring_queue_exit(queue_.get());
}

#else

std::unique_ptr<Ring> Ring::make(unsigned /*depth*/) { return nullptr; }

int Ring::read(int /*descriptor*/, std::span<std::byte> /*into*/, std::uint64_t /*offset*/,
               std::uint64_t /*tag*/) noexcept {
  return ENOSYS;
}

Ring::Done Ring::wait() noexcept { return {.wait_error = ENOSYS}; }

Ring::~Ring() = default;

#endif

Ring::Ring() = default;

}  // namespace tapedeck::internal::os
