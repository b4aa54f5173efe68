// SPDX-License-Identifier: Apache-2.0
// Several processes use one model. They share one copy in memory, which outlives the process that
// created it.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/self.hpp"
#include "os/socket_pair.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kProcesses = 4;
constexpr std::uint64_t kTensor = 16_MiB;

/// The state that the processes share, in shared memory.
struct Board {
  std::array<std::atomic<pid_t>, kProcesses> ready{};
  std::atomic<bool> go{false};
};

class SharedBoard {
 public:
  SharedBoard()
      : at_(new (::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0)) Board) {}
  ~SharedBoard() { ::munmap(at_, sizeof(Board)); }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  Board* operator->() const { return at_; }

 private:
  Board* at_;
};

template <class Condition>
bool comes_true(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(240);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// The Pss of a process in bytes: in total, and of the mappings whose name contains a word.
struct Pss {
  std::uint64_t all = 0;
  std::uint64_t named = 0;
};

Pss pss_of(pid_t process, const std::string& word) {
  const std::string folder = "/proc/" + std::to_string(process);
  Pss pss = {.all = number_of(folder + "/smaps_rollup", "Pss:") * 1024};
  std::istringstream lines(text_of(folder + "/smaps"));
  bool named = false;
  for (std::string line; std::getline(lines, line);) {
    if (is_mapping_head(line)) named = line.find(word) != std::string::npos;
    if (named && line.starts_with("Pss:")) pss.named += std::stoull(line.substr(4)) * 1024;
  }
  return pss;
}

class Processes : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory would be counted";
    ::malloc_trim(0);  // memory of earlier tests would be inherited, and counted
    const bool room = number_of("/proc/meminfo", "MemAvailable:") >= 4_GiB / 1024 &&
                      fs::space(folder_.path()).available >= 2_GiB;
    bytes_ = room ? 1_GiB : 128_MiB;
    if (!room) std::cout << "no room for 1 GiB: a model of " << to_iec(bytes_) << "\n";
  }

  // In a child: reports that it is ready, and waits until it may continue.
  void ready_and_wait(std::size_t process) {
    board_->ready[process] = ::getpid();
    EXPECT_TRUE(comes_true([&] { return board_->go.load(); }));
  }
  [[nodiscard]] bool all_are_ready() {
    return comes_true([&] {
      return std::all_of(board_->ready.begin(), board_->ready.end(),
                         [](const auto& one) { return one != 0; });
    });
  }

  // Together they hold exactly one copy.
  void expect_one_copy(const std::string& word) {
    Pss sum;
    for (const auto& process : board_->ready) {
      const Pss pss = pss_of(process, word);
      sum.all += pss.all;
      sum.named += pss.named;
    }
    std::cout << "Pss of " << kProcesses << " processes: " << to_iec(sum.named) << " of the model, "
              << to_iec(sum.all) << " in all\n";
    EXPECT_LE(sum.named, bytes_ / 100 * 102);
    EXPECT_GE(sum.named, bytes_ / 100 * 98);
    // For a small model the other memory of the processes is not negligible.
    EXPECT_TRUE(bytes_ < 1_GiB || sum.all <= bytes_ / 100 * 102) << sum.all;
  }

  TempFolder folder_;
  SharedBoard board_;
  std::uint64_t bytes_ = 0;
};

// Mostly holes, to be fast; each MiB begins with a page that identifies it.
fs::path make_sparse(const TempFolder& folder, std::uint64_t bytes) {
  const std::string header =
      made_header({.sizes = std::vector<std::uint64_t>(bytes / kTensor, kTensor)});
  fs::path path = folder.write("sparse.safetensors", header);
  fs::resize_file(path, header.size() + bytes);
  std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
  std::string page(4096, '\0');
  for (std::uint64_t at = 0; at < bytes; at += 1_MiB) {
    Pattern(at / 1_MiB).write(page.data(), page.size());
    out.seekp(static_cast<std::streamoff>(header.size() + at));
    out.write(page.data(), static_cast<std::streamsize>(page.size()));
  }
  return path;
}

bool is_right_sparse(const Weights& weights) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::byte* const at = weights.at(made_name(i)).bytes.data();
    for (std::uint64_t mib = 0; mib < kTensor / 1_MiB; ++mib) {
      const std::byte* const block = at + mib * 1_MiB;
      if (!Pattern(i * (kTensor / 1_MiB) + mib).is_at(block, 4096)) return false;
      if (!all_bytes_are(block + 4096, 4096, 0)) return false;
    }
  }
  return true;
}

TEST_F(Processes, MapOneCopyOfAFile) {
  const fs::path path = make_sparse(folder_, bytes_);
  std::vector<std::unique_ptr<Child>> children;
  for (std::size_t process = 0; process < kProcesses; ++process) {
    children.push_back(std::make_unique<Child>([&, process] {
      Weights weights = Weights::open(path, {.way = Way::map});
      EXPECT_TRUE(weights.warm({.threads = 1}));
      ready_and_wait(process);
      EXPECT_TRUE(is_right_sparse(weights));
    }));
  }
  EXPECT_TRUE(all_are_ready());
  expect_one_copy(path.string());
  board_->go = true;
  for (const auto& child : children) EXPECT_TRUE(passed(child->wait()));
}

// The first process creates it and sends it to the others, and then it is killed.
TEST_F(Processes, ShareOneCopyThatOutlivesItsMaker) {
  const std::array<SocketPair, kProcesses - 1> sockets{};
  std::vector<std::unique_ptr<Child>> children;
  children.push_back(std::make_unique<Child>([&] {
    const std::vector<std::uint64_t> sizes(bytes_ / kTensor, kTensor);
    Weights weights = build_patterned(sizes, {.name = "four-readers"}).seal();
    for (const SocketPair& pair : sockets) weights.send(pair[0]);
    EXPECT_TRUE(weights.warm({.threads = 1}));
    ready_and_wait(0);
    ADD_FAILURE() << "the process that created it should have been killed";
  }));
  for (std::size_t process = 1; process < kProcesses; ++process) {
    children.push_back(std::make_unique<Child>([&, process] {
      Weights weights = Weights::receive(sockets[process - 1][1]);
      EXPECT_TRUE(weights.warm({.threads = 1}));
      ready_and_wait(process);
      EXPECT_TRUE(all_right(weights));
      static_cast<void>(weights.decommit());
      EXPECT_TRUE(all_right(weights));
    }));
  }
  EXPECT_TRUE(all_are_ready());
  expect_one_copy("four-readers");
  children[0]->kill(SIGKILL);
  EXPECT_EQ(children[0]->wait().signal, SIGKILL);
  board_->go = true;
  for (std::size_t i = 1; i < kProcesses; ++i) EXPECT_TRUE(passed(children[i]->wait()));
}

}  // namespace
}  // namespace tapedeck::tests
