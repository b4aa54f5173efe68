#include "tapedeck/telemetry/live/stat_reader.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>

#include "os/clock.hpp"
#include "os/file.hpp"
#include "os/proc_text.hpp"
#include "os/process.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/live/stat_segment.hpp"

// Runs before each read of the file. A test that compiles this file defines it to publish between
// any two of them.
#if !defined(TAPEDECK_BEFORE_READ)
#define TAPEDECK_BEFORE_READ()
#endif

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace segment = internal::segment;
namespace {

constexpr std::size_t kWord = sizeof(std::uint64_t);

/// "tapedeck.PID.START.NAME"; nothing for another file.
std::optional<PublishedLayout> parse_file_name(const std::filesystem::path& folder,
                                               std::string_view file) {
  constexpr std::string_view kPrefix = "tapedeck.";
  if (!file.starts_with(kPrefix)) return std::nullopt;
  const std::string_view rest = file.substr(kPrefix.size());
  const std::size_t process_end = rest.find('.');
  const std::size_t start_end = rest.find('.', process_end + 1);
  if (process_end == std::string_view::npos || start_end == std::string_view::npos) {
    return std::nullopt;
  }
  const auto process = os::parse<std::int32_t>(rest.substr(0, process_end));
  const std::string_view name = rest.substr(start_end + 1);
  if (!process || *process <= 0 || !segment::is_name(name)) return std::nullopt;
  return PublishedLayout{.path = folder / file, .process = *process, .name = std::string(name)};
}

[[noreturn]] void refuse(const std::filesystem::path& path, std::size_t word,
                         const std::string& message) {
  throw FormatError(path.string(), word * kWord, message,
                    "was it published by this version of Tapedeck?");
}

/// The whole span, or an error.
void read_words(const os::Descriptor& file, const std::filesystem::path& path,
                std::span<std::uint64_t> into, std::size_t at) {
  TAPEDECK_BEFORE_READ();
  const os::Transferred got =
      os::read_at(file.get(), std::as_writable_bytes(into), std::uint64_t{at} * kWord);
  if (got.error != 0) {
    throw SystemError({.call = "pread", .number = got.error, .path = path.string()});
  }
  if (got.bytes != into.size_bytes()) refuse(path, at + got.bytes / kWord, "it ends here");
}

std::uint64_t read_word(const os::Descriptor& file, const std::filesystem::path& path,
                        std::size_t at) {
  std::uint64_t word = 0;
  read_words(file, path, {&word, 1}, at);
  return word;
}

/// Gives its size.
std::uint64_t check_file(const os::Descriptor& file, const std::filesystem::path& path) {
  const os::FileFacts facts = os::facts(file.get());
  if (facts.error != 0) {
    throw SystemError({.call = "fstat", .number = facts.error, .path = path.string()});
  }
  if (!facts.owned) {
    throw SystemError({.call = "open", .number = EACCES, .path = path.string()},
                      "it is another user's: watch it as that user");
  }
  if (!facts.regular) refuse(path, 0, "it is no file of shared memory");
  if (!facts.owner_only) {
    throw SystemError({.call = "open", .number = EACCES, .path = path.string()},
                      "others have rights to it: nobody knows who wrote it");
  }
  if (facts.bytes < segment::table * kWord || facts.bytes > segment::kMostBytes) {
    refuse(path, 0, "its " + std::to_string(facts.bytes) + " bytes are no published layout");
  }
  return facts.bytes;
}

/// Names the first figure that one list has and the other has not.
void check_table(const std::filesystem::path& path, std::string_view theirs) {
  const std::string& ours = segment::table_text();
  if (theirs == ours) return;
  const auto differs = std::mismatch(theirs.begin(), theirs.end(), ours.begin(), ours.end()).second;
  const auto at = static_cast<std::size_t>(differs - ours.begin());
  const std::size_t begin = at == 0 ? 0 : ours.find_last_of(" \n", at - 1) + 1;
  refuse(path, segment::table + at / kWord,
         "its list of figures lacks \"" +
             ours.substr(begin, ours.find_first_of(" \n", begin) - begin) + "\" in its place");
}

}  // namespace

const char* to_string(PublisherState state) noexcept {
  switch (state) {
    case PublisherState::running:
      return "running";
    case PublisherState::ended:
      return "ended";
    case PublisherState::dead:
      return "dead";
    default:
      return "unknown";
  }
}

std::vector<PublishedLayout> published_layouts(const std::filesystem::path& folder) {
  const os::Listed listed = os::list_folder(folder);
  if (listed.error != 0) {
    throw SystemError({.call = "opendir", .number = listed.error, .path = folder.string()});
  }
  std::vector<PublishedLayout> all;
  for (const std::string& file : listed.names) {
    if (auto published = parse_file_name(folder, file)) all.push_back(*std::move(published));
  }
  std::sort(all.begin(), all.end(), [](const PublishedLayout& a, const PublishedLayout& b) {
    return std::tie(a.name, a.process, a.path) < std::tie(b.name, b.process, b.path);
  });
  return all;
}

struct StatReader::Opened {
  os::Descriptor file;
  PublishedLayout published;
  std::uint64_t start = 0;
  std::uint64_t pid_namespace = 0;

  void read_header(std::uint64_t bytes);
};

void StatReader::Opened::read_header(std::uint64_t bytes) {
  const std::filesystem::path& path = published.path;
  std::array<std::uint64_t, segment::table> header{};
  read_words(file, path, header, 0);
  if (header[segment::magic] != segment::kMagic)
    refuse(path, segment::magic, "it is no published layout");
  if (header[segment::version] != segment::kVersion) {
    refuse(path, segment::version,
           "it is of version " + std::to_string(header[segment::version]) +
               ", and this Tapedeck reads version " + std::to_string(segment::kVersion));
  }
  const std::uint64_t table_bytes = header[segment::table_bytes];
  if (table_bytes > segment::kMostBytes)
    refuse(path, segment::table_bytes, "it claims too many names");
  std::vector<std::uint64_t> table((table_bytes + kWord - 1) / kWord);
  read_words(file, path, table, segment::table);
  check_table(path, {reinterpret_cast<const char*>(table.data()), table_bytes});
  if (header[segment::words] != segment::word_count() || bytes != segment::word_count() * kWord) {
    refuse(path, segment::words, "its size is not that of its figures");
  }
  const auto process = static_cast<std::int32_t>(header[segment::process]);
  if (process <= 0 || static_cast<std::uint64_t>(process) != header[segment::process]) {
    refuse(path, segment::process, "its number is that of no process");
  }
  std::array<char, segment::kNameWords * kWord + 1> name{};
  std::memcpy(name.data(), &header[segment::name], segment::kNameWords * kWord);
  if (!segment::is_name(name.data()))
    refuse(path, segment::name, "its name is none that a layout can have");
  published.process = process;
  published.name = name.data();
  start = header[segment::start];
  pid_namespace = header[segment::pid_namespace];
}

StatReader::StatReader(const std::filesystem::path& path) : opened_(std::make_unique<Opened>()) {
  os::Opened file = os::open_no_link(path);
  if (file.error != 0) {
    throw SystemError({.call = file.call, .number = file.error, .path = path.string()});
  }
  const std::uint64_t bytes = check_file(file.descriptor, path);
  opened_->file = std::move(file.descriptor);
  opened_->published.path = path;
  opened_->read_header(bytes);
}

StatReader::~StatReader() = default;
StatReader::StatReader(StatReader&& other) noexcept = default;
StatReader& StatReader::operator=(StatReader&& other) noexcept = default;

const PublishedLayout& StatReader::published() const noexcept { return opened_->published; }

// The sequence is read before and after the record, by calls of their own: the kernel copies in no
// order that one could rely on, and does not let calls pass one another.
std::optional<PublishedStat> StatReader::read() const {
  constexpr int kTries = 1000;
  const os::Descriptor& file = opened_->file;
  const std::filesystem::path& path = opened_->published.path;
  const std::size_t record = segment::record_at();
  std::vector<std::uint64_t> words(segment::word_count() - record);
  for (int i = 0; i < kTries; ++i) {
    const std::uint64_t before = read_word(file, path, record + segment::sequence);
    if (before % 2 == 0) {
      read_words(file, path, words, record);
      std::uint64_t after = read_word(file, path, record + segment::sequence);
#if defined(TAPEDECK_MUTANT_LOOKS_ONCE)  // the mutant that stat_interleaving_test must catch
      after = before;
#endif
      if (after == before) {
        PublishedStat published = {.publishes = before / 2};
        if (!segment::read_stat(std::span(words).subspan(segment::figures), published.stat)) {
          refuse(path, record + segment::figures, "it has more devices than a layout can have");
        }
        const std::uint64_t now = os::coarse_nanoseconds();
        published.age = now - std::min(now, words[segment::published_at]);
        return published;
      }
    }
    std::this_thread::yield();  // to the publisher, where it was interrupted amidst
  }
  return std::nullopt;
}

PublisherState StatReader::state() const {
  const Opened& opened = *opened_;
  if (read_word(opened.file, opened.published.path, segment::ended) != 0) {
    return PublisherState::ended;
  }
  if (opened.pid_namespace != os::pid_namespace()) return PublisherState::unknown;
  const os::ProcessStat process = os::process_stat(std::to_string(opened.published.process));
  if (process.error == ENOENT) return PublisherState::dead;
  if (process.error != 0) return PublisherState::unknown;
  return process.alive && process.start == opened.start ? PublisherState::running
                                                        : PublisherState::dead;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
