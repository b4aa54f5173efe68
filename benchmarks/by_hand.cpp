// SPDX-License-Identifier: Apache-2.0
#include "by_hand.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(TAPEDECK_LIBURING)
#include <liburing.h>
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace by_hand {
namespace {

constexpr std::size_t kBlock = std::size_t{8} << 20;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr unsigned kUnderWay = 8;

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(std::string(what) + " failed");
}

void advise(std::byte* at, std::size_t bytes, int advice) {
  if (::madvise(at, bytes, advice) != 0) fail("madvise");
}

class File {
 public:
  File(const std::filesystem::path& path, int flags)
      : number(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags)) {
    if (number < 0) fail("open");
  }
  ~File() { ::close(number); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const int number;
};

#if defined(TAPEDECK_LIBURING)

// Keeps the disk busy from one thread.
bool read_by_ring(int file, std::span<std::byte> into, std::size_t bytes) {
  io_uring ring{};
  if (::io_uring_queue_init(kUnderWay, &ring, 0) != 0) return false;
  std::size_t next = 0;
  unsigned under_way = 0;
  while (next < bytes || under_way != 0) {
    while (next < bytes && under_way < kUnderWay) {
      io_uring_sqe* const entry = ::io_uring_get_sqe(&ring);
      ::io_uring_prep_read(entry, file, into.data() + next, kBlock, next);
      next += kBlock;
      ++under_way;
    }
    ::io_uring_submit_and_wait(&ring, 1);
    io_uring_cqe* done = nullptr;
    while (::io_uring_peek_cqe(&ring, &done) == 0) {
      if (done->res < 0) fail("a direct read");
      ::io_uring_cqe_seen(&ring, done);
      --under_way;
    }
  }
  ::io_uring_queue_exit(&ring);
  return true;
}

#else

bool read_by_ring(int /*file*/, std::span<std::byte> /*into*/, std::size_t /*bytes*/) {
  return false;
}

#endif

}  // namespace

Arena::Arena(std::size_t bytes, Pages pages) : bytes_(bytes) {
  const int populate = pages == Pages::populated ? MAP_POPULATE : 0;
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | populate, -1, 0);
  if (at == MAP_FAILED) fail("mmap");
  at_ = static_cast<std::byte*>(at);
  if (pages == Pages::huge) advise(at_, bytes_, MADV_HUGEPAGE);
  if (pages == Pages::ordinary) advise(at_, bytes_, MADV_NOHUGEPAGE);
}

Arena::Arena(Arena&& other) noexcept
    : at_(std::exchange(other.at_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Arena::~Arena() {
  if (at_ != nullptr) ::munmap(at_, bytes_);
}

void Arena::populate(unsigned threads) const {
  std::vector<std::jthread> workers;
  const std::size_t part = (bytes_ / threads + kHugePage - 1) / kHugePage * kHugePage;
  for (std::size_t from = 0; from < bytes_; from += part) {
    workers.emplace_back(
        [=, this] { advise(at_ + from, std::min(part, bytes_ - from), MADV_POPULATE_WRITE); });
  }
}

Arena map_populated(const std::filesystem::path& path) {
  const File file(path, 0);
  const std::size_t bytes = std::filesystem::file_size(path);
  void* const at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.number, 0);
  if (at == MAP_FAILED) fail("mmap");
  Arena arena(static_cast<std::byte*>(at), bytes);
  advise(arena.at_, bytes, MADV_POPULATE_READ);
  return arena;
}

void read_directly(const std::filesystem::path& path, std::span<std::byte> into) {
  const File file(path, O_DIRECT);
  const std::size_t bytes = std::filesystem::file_size(path);
  if (read_by_ring(file.number, into, bytes)) return;
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> workers;
  for (unsigned i = 0; i < kUnderWay; ++i) {
    workers.emplace_back([&] {
      for (std::size_t at = next.fetch_add(kBlock); at < bytes; at = next.fetch_add(kBlock)) {
        if (::pread(file.number, into.data() + at, kBlock, static_cast<off_t>(at)) < 0) {
          std::terminate();
        }
      }
    });
  }
}

void read_buffered(const std::filesystem::path& path, std::span<std::byte> into) {
  const File file(path, 0);
  std::size_t done = 0;
  for (;;) {
    const ssize_t got =
        ::read(file.number, into.data() + done, std::min(kBlock, into.size() - done));
    if (got < 0) fail("read");
    if (got == 0) return;
    done += static_cast<std::size_t>(got);
  }
}

}  // namespace by_hand
