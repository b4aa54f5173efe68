// SPDX-License-Identifier: Apache-2.0
#include "file_state.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "by_hand.hpp"

namespace file_state {
namespace {

constexpr std::size_t kBlock = std::size_t{8} << 20;

class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path)
      : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (number_ < 0) throw std::runtime_error("cannot open " + path.string());
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return number_; }

 private:
  int number_;
};

void read_through(int file, std::size_t bytes) {
  std::vector<std::byte> part(kBlock);
  for (std::size_t at = 0; at < bytes; at += part.size()) {
    if (::pread(file, part.data(), part.size(), static_cast<off_t>(at)) <= 0) return;
  }
}

}  // namespace

void bring_to(State state, const std::filesystem::path& path) {
  const Descriptor file(path);
  ::fdatasync(file.get());
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  const std::size_t bytes = std::filesystem::file_size(path);
  if (state == State::half_hot) read_through(file.get(), bytes / 2);
  if (state == State::hot) read_through(file.get(), bytes);
}

void prime(std::size_t bytes) { by_hand::Arena(bytes + kBlock, by_hand::Pages::huge).populate(1); }

std::filesystem::path disk_folder() {
  const char* const chosen = std::getenv("TMPDIR");
  return chosen != nullptr ? chosen : "/var/tmp";
}

}  // namespace file_state
