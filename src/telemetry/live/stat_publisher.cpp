// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/live/stat_publisher.hpp"

#include <cerrno>
#include <cstring>
#include <new>
#include <random>
#include <string_view>
#include <utility>

#include "base/on_failure.hpp"
#include "base/printable.hpp"
#include "os/clock.hpp"
#include "os/file.hpp"
#include "os/process.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/live/stat_reader.hpp"
#include "telemetry/live/stat_segment.hpp"

// Runs after each store of a value. A test compiles this file with a definition that reads the
// record while it is half written.
#if !defined(TAPEDECK_AFTER_STORE)
#define TAPEDECK_AFTER_STORE()
#endif

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace segment = internal::segment;
namespace {

constexpr const char* kAdvice = "use a folder on a file system in memory that has free space";

std::size_t mapped_bytes() {
  return round_up(segment::word_count() * segment::kWord, os::page_size());
}

const std::string& checked_name(const std::string& name) {
  if (segment::is_name(name)) return name;
  throw InvalidArgument(
      {.argument = "name"}, "a layout cannot be published as \"" + internal::printable(name) + "\"",
      "use 1 to " + std::to_string(segment::kMostName) + " letters, digits, '.', '_' and '-'");
}

std::uint64_t start_of_this_process() {
  const os::ProcessStat self = os::process_stat("self");
  if (self.error == 0) return self.start;
  throw SystemError({.call = self.call, .number = self.error, .path = "/proc/self/stat"},
                    "publishing needs /proc");
}

/// Names the file of a publisher. Another user may have taken the name, since it is predictable and
/// the folder is open to all: another name is tried then. Returns errno, EEXIST if this user has
/// the file already.
int give_free_name(int descriptor, std::filesystem::path& path, const std::string& prefix,
                   const std::string& name) {
  constexpr int kTries = 16;
  int error = os::give_name(descriptor, path);
  for (int i = 0; i < kTries && error == EEXIST && !os::facts_of_name(path).owned; ++i) {
    std::string other = prefix;
    other.append("-").append(std::to_string(std::random_device()())).append(".").append(name);
    path.replace_filename(other);
    error = os::give_name(descriptor, path);
  }
  return error;
}

// Removes files of dead publishers, so that readers do not find them. A file that cannot be removed
// is left.
void remove_dead(const std::filesystem::path& folder, const std::string& name) {
  try {
    for (const PublishedLayout& published : published_layouts(folder)) {
      if (published.name != name) continue;
      try {
        if (StatReader(published.path).state() != PublisherState::dead) continue;
        static_cast<void>(os::remove_file(published.path));
      } catch (const Error&) {  // it is another user's, or not a segment
      }
    }
  } catch (const SystemError&) {
  }
}

std::byte* map_segment(int descriptor, const std::filesystem::path& folder) {
  const auto failed = [&](const char* call, int error) {
    return SystemError(
        {.call = call, .number = error, .path = folder.string(), .bytes = mapped_bytes()}, kAdvice);
  };
  // Without allocated pages, a store on a full file system would raise SIGBUS.
  if (const int error = os::allocate(descriptor, segment::word_count() * segment::kWord)) {
    throw failed("fallocate", error);
  }
  const os::Mapped reserved = os::reserve(mapped_bytes());
  if (reserved.error != 0) throw failed(reserved.call, reserved.error);
  internal::OnFailure unmap([&] { static_cast<void>(os::unmap(reserved.at, mapped_bytes())); });
  const os::Mapped mapped =
      os::map_shared(descriptor, mapped_bytes(), os::Access::write, reserved.at);
  if (mapped.error != 0) throw failed(mapped.call, mapped.error);
  unmap.completed();
  return mapped.at;
}

template <class Word>
void store_text(Word* words, std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size(); at += segment::kWord) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, std::min(sizeof word, text.size() - at));
    words[at / sizeof word].store(word, std::memory_order_relaxed);
  }
}

}  // namespace

StatPublisher::StatPublisher(const Layout& layout, const std::string& name,
                             const std::filesystem::path& folder)
    : layout_(layout), process_(os::process_id()), start_(start_of_this_process()) {
  // The name has the process's start time, since a later process may get the same id.
  const std::string prefix = "tapedeck." + std::to_string(process_) + "." + std::to_string(start_);
  path_ = folder / (prefix + "." + checked_name(name));
  remove_dead(folder, name);
  // The file gets its name when it is complete, so nothing is left behind if a step fails.
  os::Opened file = os::open(folder, os::OpenFor::unnamed_file);
  if (file.error != 0) {
    throw SystemError({.call = file.call, .number = file.error, .path = folder.string()}, kAdvice);
  }
  std::byte* const at = map_segment(file.descriptor.get(), folder);
  internal::OnFailure unmap([&] { static_cast<void>(os::unmap(at, mapped_bytes())); });
  words_ = reinterpret_cast<Word*>(at);
  for (std::size_t i = 0; i < segment::word_count(); ++i) new (words_ + i) Word(0);
  record_ = words_ + segment::record_at();
  write_header(name);
  publish();
  if (const int error = os::lock_file(file.descriptor.get()); error != 0) {
    throw SystemError({.call = "fcntl", .number = error, .path = folder.string()}, kAdvice);
  }
  const int error = give_free_name(file.descriptor.get(), path_, prefix, name);
  if (error == EEXIST) {
    throw InvalidArgument({.argument = "name"},
                          "this process already publishes a layout as \"" + name + "\"",
                          "give each layout its own name");
  }
  if (error != 0) {
    throw SystemError({.call = "linkat", .number = error, .path = path_.string()}, kAdvice);
  }
  unmap.completed();
  locked_ = file.descriptor.release();
}

StatPublisher::~StatPublisher() {
  const bool forked = os::process_id() != process_;
  if (!forked) {
    words_[segment::ended].store(1, std::memory_order_release);
    static_cast<void>(os::remove_file(path_));
  }
  static_cast<void>(os::unmap(reinterpret_cast<std::byte*>(words_), mapped_bytes()));
  const os::Descriptor unlocked(locked_);
}

void StatPublisher::write_header(const std::string& name) noexcept {
  const auto store_word = [this](std::size_t at, std::uint64_t value) {
    words_[at].store(value, std::memory_order_relaxed);
  };
  store_word(segment::magic, segment::kMagic);
  store_word(segment::version, segment::kVersion);
  store_word(segment::words, segment::word_count());
  store_word(segment::process, static_cast<std::uint64_t>(process_));
  store_word(segment::start, start_);
  store_word(segment::pid_namespace, os::pid_namespace());
  store_word(segment::table_bytes, segment::table_text().size());
  store_text(words_ + segment::name, name);
  store_text(words_ + segment::table, segment::table_text());
}

// A sequence lock without fences. A reader that sees a word of this record, or of a later one, also
// sees the odd sequence that was stored before it. So a reader that finds the sequence unchanged
// has seen no such word.
void StatPublisher::publish() noexcept {
  layout_.stat(stat_);
#if !defined(TAPEDECK_MUTANT_NEVER_ODD)  // the mutant that stat_interleaving_test must catch
  record_[segment::sequence].store(sequence_ + 1, std::memory_order_relaxed);
#endif
  record_[segment::published_at].store(os::coarse_nanoseconds(), std::memory_order_release);
  Word* next = record_ + segment::figures;
  segment::for_each_word(std::as_const(stat_), [&next](std::uint64_t word) {
    (next++)->store(word, std::memory_order_release);
    TAPEDECK_AFTER_STORE();
  });
  sequence_ += 2;
  record_[segment::sequence].store(sequence_, std::memory_order_release);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
