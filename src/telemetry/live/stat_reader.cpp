// SPDX-License-Identifier: Apache-2.0
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

#include "base/amounts.hpp"
#include "os/clock.hpp"
#include "os/file.hpp"
#include "os/proc_text.hpp"
#include "os/process.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/live/stat_segment.hpp"

// Runs before each read of the file. A test compiles this file with a definition that publishes
// between two reads.
#if !defined(TAPEDECK_BEFORE_READ)
#define TAPEDECK_BEFORE_READ()
#endif

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace segment = internal::segment;
namespace {

using segment::kWord;

/// Parses "tapedeck.PID.START.NAME"; returns nothing for other files.
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

std::string advice_on_opening(int error) {
  if (error == EWOULDBLOCK) return "another program holds a lease on it; end that program";
  return os::advice_to_open(error);
}

}  // namespace

const char* to_string(PublisherState state) noexcept {
  constexpr std::array names = {"running", "ended", "dead", "unknown"};
  return names[static_cast<std::size_t>(state)];
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
  using enum FormatFault;

  explicit Opened(const std::filesystem::path& path);

  /// Fills the whole span with the words from `at` on, or throws.
  void read_words(std::span<std::uint64_t> into, std::size_t at) const;
  [[nodiscard]] std::uint64_t read_word(std::size_t at) const;

  /// If `holds` is false, throws a FormatError with the offset of `word`.
  void require_format(bool holds, std::size_t word, const std::string& field, FormatFault fault,
                      const std::string& message) const;
  [[noreturn]] void throw_system_error(const char* call, int number, std::string advice = {}) const;

  os::Descriptor file{};
  PublishedLayout published{};
  std::uint64_t start = 0;
  std::uint64_t pid_namespace = 0;

 private:
  void require_owned(const os::FileFacts& facts) const;
  void require_regular(const os::FileFacts& facts) const;
  /// Refuses files whose content others may have written.
  void require_trusted(const os::FileFacts& facts) const;
  void read_header(const os::FileFacts& facts);
  void check_table(std::string_view theirs) const;
};

StatReader::Opened::Opened(const std::filesystem::path& path) {
  published.path = path;
  // Looked at by name first: anything may lie in a folder that is open to all, and opening it may
  // fail, or disturb its owner.
  const os::FileFacts named = os::facts_of_name(path);
  if (named.error != 0) throw_system_error("lstat", named.error);
  require_owned(named);
  if (!named.link) require_regular(named);
  os::Opened opened = os::open(path, os::OpenFor::reading_no_link);
  if (opened.error != 0) {
    throw_system_error(opened.call, opened.error, advice_on_opening(opened.error));
  }
  file = std::move(opened.descriptor);
  const os::FileFacts facts = os::facts(file.get());
  if (facts.error != 0) throw_system_error("fstat", facts.error);
  read_header(facts);
}

void StatReader::Opened::read_words(std::span<std::uint64_t> into, std::size_t at) const {
  TAPEDECK_BEFORE_READ();
  const os::Transferred got =
      os::read_at(file.get(), std::as_writable_bytes(into), std::uint64_t{at} * kWord);
  if (got.error != 0) throw_system_error("pread", got.error);
  require_format(got.bytes == into.size_bytes(), at + got.bytes / kWord, "", cut_off,
                 "the file ends here");
}

std::uint64_t StatReader::Opened::read_word(std::size_t at) const {
  std::uint64_t word = 0;
  read_words({&word, 1}, at);
  return word;
}

void StatReader::Opened::require_format(bool holds, std::size_t word, const std::string& field,
                                        FormatFault fault, const std::string& message) const {
  if (holds) return;
  throw FormatError({published.path.string(), word * kWord, field, fault}, message,
                    "check that this version of Tapedeck published it");
}

void StatReader::Opened::throw_system_error(const char* call, int number,
                                            std::string advice) const {
  throw SystemError({.call = call, .number = number, .path = published.path.string()},
                    std::move(advice));
}

void StatReader::Opened::require_owned(const os::FileFacts& facts) const {
  if (!facts.owned) {
    throw_system_error("open", EACCES, "it belongs to another user; read it as that user");
  }
}

void StatReader::Opened::require_regular(const os::FileFacts& facts) const {
  require_format(facts.regular, 0, "", not_this_format, "it is not a regular file");
}

void StatReader::Opened::require_trusted(const os::FileFacts& facts) const {
  if (!facts.owner_only) {
    throw_system_error("open", EACCES,
                       "other users have access to it, so its content cannot be trusted");
  }
}

// A file of this user that is something else is reported as such, whatever its rights are.
void StatReader::Opened::read_header(const os::FileFacts& facts) {
  require_owned(facts);
  require_regular(facts);
  const std::uint64_t bytes = facts.bytes;
  require_format(
      bytes >= segment::table * kWord && bytes <= segment::kMostBytes, 0, "", not_this_format,
      "its size of " + internal::count_of(bytes, "byte") + " cannot be that of a published layout");
  std::array<std::uint64_t, segment::table> header{};
  read_words(header, 0);
  require_format(header[segment::magic] == segment::kMagic, segment::magic, "magic",
                 not_this_format, "it is not a published layout");
  require_trusted(facts);
  require_format(header[segment::version] == segment::kVersion, segment::version, "version",
                 not_this_format,
                 "it has version " + std::to_string(header[segment::version]) +
                     ", but this Tapedeck reads version " + std::to_string(segment::kVersion));
  const std::uint64_t table_bytes = header[segment::table_bytes];
  require_format(table_bytes <= segment::kMostBytes, segment::table_bytes, "table_bytes",
                 out_of_range, "its list of fields is too long");
  std::vector<std::uint64_t> table((table_bytes + kWord - 1) / kWord);
  read_words(table, segment::table);
  check_table({reinterpret_cast<const char*>(table.data()), table_bytes});
  require_format(
      header[segment::words] == segment::word_count() && bytes == segment::word_count() * kWord,
      segment::words, "words", contradictory, "its size does not match its list of fields");
  const auto process = static_cast<std::int32_t>(header[segment::process]);
  require_format(process > 0 && static_cast<std::uint64_t>(process) == header[segment::process],
                 segment::process, "process", out_of_range, "its process id is not valid");
  std::array<char, segment::kNameWords * kWord + 1> name{};
  std::memcpy(name.data(), &header[segment::name], segment::kNameWords * kWord);
  require_format(segment::is_name(name.data()), segment::name, "name", malformed,
                 "the name of its layout is not valid");
  published.process = process;
  published.name = name.data();
  start = header[segment::start];
  pid_namespace = header[segment::pid_namespace];
}

/// If the lists of fields differ, throws a FormatError that names the first field that does.
void StatReader::Opened::check_table(std::string_view theirs) const {
  const std::string& ours = segment::table_text();
  if (theirs == ours) return;
  const auto differs = std::mismatch(theirs.begin(), theirs.end(), ours.begin(), ours.end()).second;
  const auto at = static_cast<std::size_t>(differs - ours.begin());
  const std::size_t begin = at == 0 ? 0 : ours.find_last_of(" \n", at - 1) + 1;
  const std::string figure = ours.substr(begin, ours.find_first_of(" \n", begin) - begin);
  require_format(false, segment::table + at / kWord, figure, missing,
                 "its list of fields does not have \"" + figure + "\" in the expected place");
}

StatReader::StatReader(const std::filesystem::path& path)
    : opened_(std::make_unique<Opened>(path)) {}

StatReader::~StatReader() = default;
StatReader::StatReader(StatReader&& other) noexcept = default;
StatReader& StatReader::operator=(StatReader&& other) noexcept = default;

const PublishedLayout& StatReader::published() const noexcept { return opened_->published; }

// Separate calls read the sequence before and after the record: within one call the kernel copies
// in an unspecified order, but it does not reorder calls.
std::optional<PublishedStat> StatReader::read() const {
  constexpr int kTries = 1000;
  const Opened& file = *opened_;
  const std::size_t record = segment::record_at();
  std::vector<std::uint64_t> words(segment::word_count() - record);
  for (int i = 0; i < kTries; ++i) {
    const std::uint64_t before = file.read_word(record + segment::sequence);
    if (before % 2 == 0) {
      file.read_words(words, record);
      std::uint64_t after = file.read_word(record + segment::sequence);
#if defined(TAPEDECK_MUTANT_LOOKS_ONCE)  // the mutant that stat_interleaving_test must catch
      after = before;
#endif
      if (after == before) {
        PublishedStat published = {.publishes = before / 2};
        file.require_format(
            segment::read_stat(std::span(words).subspan(segment::figures), published.stat),
            record + segment::figures, "gpus", Opened::out_of_range,
            "it has more devices than a layout can have");
        const std::uint64_t now = os::coarse_nanoseconds();
        published.age = now - std::min(now, words[segment::published_at]);
        return published;
      }
    }
    std::this_thread::yield();  // lets a publisher run that was interrupted while it wrote
  }
  return std::nullopt;
}

PublisherState StatReader::state() const {
  const Opened& opened = *opened_;
  if (opened.read_word(segment::ended) != 0) return PublisherState::ended;
  const std::optional<bool> locked = os::is_locked(opened.file.get());
  if (!locked) return PublisherState::unknown;
  return *locked ? PublisherState::running : PublisherState::dead;
}

bool StatReader::process_visible() const {
  const Opened& opened = *opened_;
  if (opened.pid_namespace != os::pid_namespace()) return false;
  const os::ProcessStat process = os::process_stat(std::to_string(opened.published.process));
  return process.error == 0 && process.alive && process.start == opened.start;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
