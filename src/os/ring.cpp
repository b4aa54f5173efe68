#include "os/ring.hpp"

#include <cerrno>
#include <mutex>
#include <utility>

#include "os/faults.hpp"

#if defined(TAPEDECK_LIBURING)
#include <liburing.h>
#endif

namespace tapedeck::internal::os {

#if defined(TAPEDECK_LIBURING)

namespace {

// A queue may be mapped where another one was unmapped. The kernel puts these one after the other;
// but liburing makes its own system calls, and ThreadSanitizer sees only this.
std::mutex mapping;

}  // namespace

struct Ring::Queue {
  Queue() = default;
  ~Queue() {
    const std::lock_guard lock(mapping);
    if (open) ::io_uring_queue_exit(&ring);
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // Gives errno.
  [[nodiscard]] int init(unsigned depth) noexcept {
    const std::lock_guard lock(mapping);
    const int result = ::io_uring_queue_init(depth, &ring, 0);
    open = result == 0;
    return -result;
  }

  io_uring ring{};
  bool open = false;
};

Ring::Made Ring::make(unsigned depth) {
  if (const int error = injected("io_uring_setup")) return {.error = error};
  std::unique_ptr<Ring> made(new Ring);
  made->queue_ = std::make_unique<Queue>();
  if (const int error = made->queue_->init(depth); error != 0) return {.error = error};
  return {.ring = std::move(made)};
}

int Ring::read(int descriptor, std::span<std::byte> into, std::uint64_t offset,
               std::uint64_t tag) noexcept {
  if (const int error = injected("io_uring_enter")) return error;
  io_uring_sqe* const entry = ::io_uring_get_sqe(&queue_->ring);
  if (entry == nullptr) return EBUSY;
  ::io_uring_prep_read(entry, descriptor, into.data(), static_cast<unsigned>(into.size()), offset);
  ::io_uring_sqe_set_data64(entry, tag);
  const int result = ::io_uring_submit(&queue_->ring);
  if (result < 0) return -result;
  ++under_way_;
  return 0;
}

Ring::Done Ring::wait() noexcept {
  io_uring_cqe* entry = nullptr;
  int result = -EINTR;
  while (result == -EINTR) result = ::io_uring_wait_cqe(&queue_->ring, &entry);
  if (result < 0) return {.wait_error = -result};
  Done done = {.tag = ::io_uring_cqe_get_data64(entry)};
  if (entry->res < 0) {
    done.error = -entry->res;
  } else {
    done.bytes = static_cast<std::size_t>(entry->res);
  }
  ::io_uring_cqe_seen(&queue_->ring, entry);
  --under_way_;
  return done;
}

Ring::~Ring() {
  while (under_way_ != 0) {
    if (wait().wait_error != 0) return;
  }
}

#else

struct Ring::Queue {};

Ring::Made Ring::make(unsigned /*depth*/) { return {.error = ENOSYS}; }

int Ring::read(int /*descriptor*/, std::span<std::byte> /*into*/, std::uint64_t /*offset*/,
               std::uint64_t /*tag*/) noexcept {
  return ENOSYS;
}

Ring::Done Ring::wait() noexcept { return {.wait_error = ENOSYS}; }

Ring::~Ring() = default;

#endif

Ring::Ring() = default;

}  // namespace tapedeck::internal::os
