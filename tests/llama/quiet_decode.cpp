// SPDX-License-Identifier: Apache-2.0
// quiet_decode MODE TOKENS THREADS MODEL DESCRIPTOR FOLDER: decodes under an allow-list of system
// calls. For each token it uses all of telemetry: a recorder's sample, two phases, and a publish of
// the layout. MODE says what it does in addition for each token: "nothing", or a deliberate fault
// that quiet_decode_test must notice: "allocation", "mapping", "page_fault"; "recorder" and
// "phases" read out everything that they have recorded; "publisher" creates another publisher. With
// "guard" or "guard_allocation", a strict PassGuard watches instead.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "llama/decoder.hpp"
#include "llama/llama_model.hpp"
#include "llama/quiet_decode.hpp"
#include "llama/talk.hpp"
#include "llama/talk_decoder.hpp"
#include "llama/tokenizer.hpp"
#include "memory/heap_allocations.hpp"
#include "tapedeck/layout/pass_guard.hpp"
#include "tapedeck/telemetry/live/stat_publisher.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"

namespace tapedeck::tests {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kThisArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kThisArchitecture = AUDIT_ARCH_AARCH64;
#endif

// From now on any thread of this process may only sleep, wake others and exit; any other call kills
// the process.
bool allow_only_futex() {
  constexpr std::uint32_t number = offsetof(seccomp_data, nr);
  constexpr std::uint32_t architecture = offsetof(seccomp_data, arch);
  std::array<sock_filter, 8> program = {{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, architecture},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 4, kThisArchitecture},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, number},
      {BPF_JMP | BPF_JEQ | BPF_K, 3, 0, SYS_futex},
      {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, SYS_exit},
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_exit_group},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  }};
  const sock_fprog filter = {static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

constexpr std::size_t kPage = 4096;

void allocate() {
  void* volatile block = std::malloc(32);
  std::free(block);
}

void map() {
  void* const page = ::mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ::munmap(page, kPage);
}

// Touches one of `pages` pages after the other.
std::function<void()> touch(std::uint64_t pages) {
  void* const mapped =
      ::mmap(nullptr, kPage * pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) std::exit(1);
  return [next = static_cast<volatile char*>(mapped)]() mutable {
    *next = 1;
    next = next + kPage;
  };
}

struct Arguments {
  std::string_view mode;
  std::uint64_t tokens;
  unsigned threads;
  const char* model;
  int descriptor;
  const char* folder;
};

// An engine's decoder that reports all of its passes: as phases, to a recorder, and to a publisher.
class ToldDecoder final : public llama::TalkDecoder {
 public:
  ToldDecoder(llama::TalkDecoder& decoder, Layout& layout, const char* folder)
      : decoder_(decoder),
        recorder_(layout),
        phases_(layout, &recorder_),
        publisher_(layout, "quiet", folder) {}

  [[nodiscard]] const llama::Shape& shape() const noexcept override { return decoder_.shape(); }
  [[nodiscard]] std::size_t position() const override { return decoder_.position(); }
  void prepare(std::uint64_t tokens) override { decoder_.prepare(tokens); }
  void rewind(std::uint64_t tokens) override { decoder_.rewind(tokens); }
  [[nodiscard]] std::span<float> forward(llama::TokenId token) override {
    const PhaseScope decode(phases_, "decode");
    const PhaseScope attention(phases_, "attention");
    return decoder_.forward(token);
  }
  void clear_pass() override {
    decoder_.clear_pass();
    recorder_.pass();
    publisher_.publish();
  }
  void clear_talk() override { decoder_.clear_talk(); }

  [[nodiscard]] const Recorder& recorder() const { return recorder_; }
  [[nodiscard]] const Phases& phases() const { return phases_; }

 private:
  llama::TalkDecoder& decoder_;
  Recorder recorder_;
  Phases phases_;
  StatPublisher publisher_;
};

class QuietDecode {
 public:
  explicit QuietDecode(const Arguments& arguments)
      : model_(arguments.model),
        layout_(model_.plan(), model_.options()),
        pool_(arguments.threads),
        decoder_(model_, layout_, pool_),
        told_(decoder_, layout_, arguments.folder),
        prompt_(model_.shape().seq_len / 2, 300),
        noise_(noise_of(arguments)) {
    prompt_[0] = 1;
    if (!model_.weights().warm() || !layout_.scratch().warm() || !layout_.history().warm()) {
      throw std::runtime_error("could not warm weights and tapes");
    }
  }

  Layout& layout() { return layout_; }

  /// Decodes at least this many tokens, in whole talks.
  void decode(std::uint64_t tokens, Blackboard& board) {
    board.tokens = 0;
    board.talks = 0;
    while (board.tokens < tokens) {
      board.tokens += llama::hold_talk(told_, sampler_, prompt_, 0, ends_, never_stop_, on_token_);
      told_.clear_talk();
      ++board.talks;
    }
  }

  /// Decodes like `decode`, and writes the cost and the telemetry's counts to the board.
  void measure(std::uint64_t tokens, Blackboard& board) {
    board.samples = told_.recorder().taken();
    board.phases = phases_entered();
    board.allocations = tapedeck_heap_allocations();
    decode(tokens, board);
    board.allocations = tapedeck_heap_allocations() - board.allocations;
    board.phases = phases_entered() - board.phases;
    board.samples = told_.recorder().taken() - board.samples;
  }

  void be_noisy() { noisy_ = true; }

 private:
  std::function<void()> noise_of(const Arguments& arguments) {
    const std::string_view mode = arguments.mode;
    if (mode.ends_with("allocation")) return allocate;
    if (mode == "mapping") return map;
    if (mode == "page_fault") return touch(arguments.tokens * 2);
    if (mode == "recorder") return [this] { (void)told_.recorder().recording(); };
    if (mode == "phases") return [this] { (void)told_.phases().figures(); };
    if (mode == "publisher") {
      return
          [this, folder = arguments.folder] { const StatPublisher another(layout_, "2", folder); };
    }
    return [] {};
  }

  std::uint64_t phases_entered() const {
    std::uint64_t times = 0;
    for (const PhaseFigures& phase : told_.phases().figures()) times += phase.times;
    return times;
  }

  llama::LlamaModel model_;
  Layout layout_;
  llama::ThreadPool pool_;
  llama::Decoder decoder_;
  ToldDecoder told_;
  llama::Sampler sampler_{0};
  std::vector<llama::TokenId> prompt_;
  std::function<void()> noise_;
  bool noisy_ = false;
  const std::array<llama::TokenId, 1> ends_ = {llama::kBos};
  std::atomic<bool> never_stop_{false};
  llama::OnToken on_token_ = [this](llama::TokenId, llama::TokenId) {
    if (noisy_) noise_();
    return true;
  };
};

void wait_for(const std::atomic<Stage>& stage, Stage wanted) {
  while (stage.load(std::memory_order_acquire) != wanted) {
  }
}

int run_quietly(QuietDecode& subject, std::uint64_t tokens, Blackboard& board) {
  // Pages that were touched stay in memory, however little is free. Nothing is made resident here.
  ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
  if (!allow_only_futex()) return kNoSeccomp;
  subject.decode(1000, board);
  subject.be_noisy();
  board.stage.store(Stage::ready);
  wait_for(board.stage, Stage::decoding);
  subject.measure(tokens, board);
  board.stage.store(Stage::done);
  wait_for(board.stage, Stage::end);
  ::_exit(0);
}

int run_guarded(QuietDecode& subject, std::uint64_t tokens, Blackboard& board) {
  PassGuard guard(subject.layout(), {.strict = true});
  subject.be_noisy();
  try {
    subject.decode(tokens, board);
  } catch (const PassViolation&) {
    return kViolation;
  }
  // What the guard did not count, it did not see.
  return guard.total().heap_allocations && guard.passes() == board.tokens ? 0 : 1;
}

int run(const Arguments& arguments) {
  void* shared = ::mmap(nullptr, sizeof(Blackboard), PROT_READ | PROT_WRITE, MAP_SHARED,
                        arguments.descriptor, 0);
  if (shared == MAP_FAILED) return 1;
  Blackboard& board = *static_cast<Blackboard*>(shared);
  QuietDecode subject(arguments);
  subject.measure(1000, board);
  return arguments.mode.starts_with("guard") ? run_guarded(subject, arguments.tokens, board)
                                             : run_quietly(subject, arguments.tokens, board);
}

}  // namespace
}  // namespace tapedeck::tests

int main(int argc, char** argv) {
  if (argc != 7) return 1;
  try {
    return tapedeck::tests::run({.mode = argv[1],
                                 .tokens = std::stoull(argv[2]),
                                 .threads = static_cast<unsigned>(std::stoul(argv[3])),
                                 .model = argv[4],
                                 .descriptor = std::stoi(argv[5]),
                                 .folder = argv[6]});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quiet_decode: %s\n", error.what());
    return 1;
  }
}
