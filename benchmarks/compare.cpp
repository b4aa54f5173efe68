// SPDX-License-Identifier: Apache-2.0
#include "compare.hpp"

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace compare {
namespace {

constexpr int kFewestRounds = 9;  // for a verdict
constexpr int kRounds = 15;
constexpr double kNoSlower = 1.05;
constexpr std::string_view kItem;  // the figure without a name, which is nanoseconds per item

/// The figures of one benchmark, each with a value for every round.
struct Row {
  std::string name;
  std::map<std::string, std::vector<double>, std::less<>> figures;
  std::string skipped;  // the reason, if it was skipped
};

/// Collects what Google Benchmark measures, and prints only its description of the machine.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& context) override {
    if (!std::exchange(introduced_, true)) {
      SetOutputStream(&std::cout);
      PrintBasicContext(&std::cout, context);
    }
    return true;
  }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      Row& row = rows_[{run.family_index, run.per_family_instance_index}];
      row.name = run.run_name.function_name;
      if (run.error_occurred) {
        row.skipped = run.error_message;
        continue;
      }
      double nanoseconds =
          run.GetAdjustedRealTime() * 1e9 / benchmark::GetTimeUnitMultiplier(run.time_unit);
      for (const auto& [name, counter] : run.counters) {
        if (name == "items_per_second") {
          nanoseconds = 1e9 / counter.value;
        } else {
          row.figures[name].push_back(counter.value);
        }
      }
      row.figures[std::string(kItem)].push_back(nanoseconds);
    }
  }

  /// The rows in the order of registration.
  [[nodiscard]] const auto& rows() const { return rows_; }

  [[nodiscard]] const Row* find(std::string_view name) const {
    const auto at = std::find_if(rows_.begin(), rows_.end(),
                                 [&](const auto& row) { return row.second.name == name; });
    return at == rows_.end() ? nullptr : &at->second;
  }

 private:
  std::map<std::pair<std::int64_t, std::int64_t>, Row> rows_;
  bool introduced_ = false;
};

/// The median and its 95 % confidence interval.
struct Median {
  double value;
  double low;
  double high;
};

// The interval consists of order statistics, x[k] .. x[n-1-k], with the largest k for which a fair
// coin tossed n times shows at most k heads with a probability of 2.5 % or less. It assumes nothing
// about the distribution. With fewer than 6 rounds no such k exists, and the interval is unbounded.
Median median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  const double value = (values[(n - 1) / 2] + values[n / 2]) / 2;

  double probability = 1;
  for (std::size_t i = 0; i < n; ++i) probability /= 2;  // of no heads
  double at_most_k = probability;
  if (at_most_k > 0.025) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    return {value, -infinity, infinity};
  }
  std::size_t k = 0;
  for (std::size_t heads = 1; heads < n; ++heads) {
    probability *= static_cast<double>(n - heads + 1) / static_cast<double>(heads);
    at_most_k += probability;
    if (at_most_k > 0.025) break;
    k = heads;
  }
  return {value, values[k], values[n - 1 - k]};
}

/// The value that the claim is about, for every round. Empty if a row is missing.
std::vector<double> paired(const Collector& all, const Claim& claim) {
  const auto figure_of = [&](const std::string& name) -> const std::vector<double>* {
    const Row* row = all.find(name);
    if (row == nullptr) return nullptr;
    const auto figure = row->figures.find(claim.counter);
    return figure == row->figures.end() ? nullptr : &figure->second;
  };
  const std::vector<double>* row = figure_of(claim.row);
  if (row == nullptr) return {};
  std::vector<double> result = *row;
  if (claim.over.empty()) return result;
  const std::vector<double>* over = figure_of(claim.over);
  if (over == nullptr || over->size() != result.size()) return {};
  for (std::size_t i = 0; i < result.size(); ++i) result[i] /= (*over)[i];
  return result;
}

const char* verdict(const Claim& claim, const Median& median, std::size_t rounds) {
  if (claim.bound == Bound::none) return "";
  if (rounds < kFewestRounds) return "undecided (too few rounds)";
  const bool most = claim.bound == Bound::at_most;
  if (most ? median.high <= claim.limit : median.low >= claim.limit) return "reached";
  if (most ? median.low > claim.limit : median.high < claim.limit) return "missed";
  return "undecided";
}

std::string number(double value) {
  char text[32];
  const int decimals = value >= 10'000 ? 0 : value >= 100 ? 1 : 3;
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

void print_rows(const Collector& all) {
  std::printf("\n%-44s %12s %12s\n", "nanoseconds an item", "median", "min");
  for (const auto& [index, row] : all.rows()) {
    if (!row.skipped.empty()) {
      std::printf("%-44s skipped: %s\n", row.name.c_str(), row.skipped.c_str());
      continue;
    }
    std::string counters;
    for (const auto& [name, values] : row.figures) {
      if (name == kItem) continue;
      counters += "  " + name + "=" + number(median_of(values).value);
    }
    const std::vector<double>& values = row.figures.find(kItem)->second;
    std::printf("%-44s %12s %12s%s\n", row.name.c_str(), number(median_of(values).value).c_str(),
                number(*std::min_element(values.begin(), values.end())).c_str(), counters.c_str());
  }
}

void print_claims(const Collector& all, std::span<const Claim> claims) {
  bool first = true;
  for (const Claim& claim : claims) {
    const std::vector<double> values = paired(all, claim);
    if (values.empty()) continue;  // filtered out, or skipped
    if (std::exchange(first, false)) {
      std::printf("\n%-66s %9s  %-22s %-10s\n", "claim", "median", "95 % interval", "target");
    }
    const Median median = median_of(values);
    std::string what = claim.row;
    if (!claim.counter.empty()) what += ", " + claim.counter;
    if (!claim.over.empty()) what += " / " + claim.over;
    const std::string interval = "[" + number(median.low) + ", " + number(median.high) + "]";
    const std::string target =
        claim.bound == Bound::none
            ? ""
            : (claim.bound == Bound::at_most ? "<= " : ">= ") + number(claim.limit);
    std::printf("%-66s %9s  %-22s %-10s %s\n", what.c_str(), number(median.value).c_str(),
                interval.c_str(), target.c_str(), verdict(claim, median, values.size()));
  }
}

using Json = nlohmann::ordered_json;

// With too few rounds the interval is unbounded. JSON cannot represent infinity, so it writes null.
Json as_json(const Median& median) {
  return {{"median", median.value}, {"low", median.low}, {"high", median.high}};
}

Json as_json(const Row& row) {
  Json json = {{"name", row.name}};
  if (!row.skipped.empty()) json["skipped"] = row.skipped;
  for (const auto& [name, values] : row.figures) {
    json[name == kItem ? "nanoseconds" : name] = as_json(median_of(values));
  }
  return json;
}

Json as_json(const Claim& claim, const std::vector<double>& values) {
  const Median median = median_of(values);
  Json json = as_json(median);
  json["row"] = claim.row;
  json["over"] = claim.over;
  json["figure"] = claim.counter.empty() ? "nanoseconds" : claim.counter;
  if (claim.bound == Bound::none) return json;
  json[claim.bound == Bound::at_most ? "at_most" : "at_least"] = claim.limit;
  json["verdict"] = verdict(claim, median, values.size());
  return json;
}

/// Replaces what the previous round wrote, so that a program that is stopped leaves its last round.
bool write_json(const std::string& path, int rounds, const Collector& all,
                std::span<const Claim> claims, std::span<const std::string> notes) {
  Json json = {{"rounds", rounds}, {"notes", notes}, {"rows", Json::array()}};
  for (const auto& [index, row] : all.rows()) json["rows"].push_back(as_json(row));
  json["claims"] = Json::array();
  for (const Claim& claim : claims) {
    const std::vector<double> values = paired(all, claim);
    if (!values.empty()) json["claims"].push_back(as_json(claim, values));
  }
  const std::string next = path + ".next";
  std::ofstream out(next);
  out << json.dump(1) << '\n';
  out.close();
  if (out && std::rename(next.c_str(), path.c_str()) == 0) return true;
  std::fprintf(stderr, "cannot write %s\n", path.c_str());
  return false;
}

/// Removes "--rounds=N" from the arguments. Returns `nullopt` if N is not a number from 1 up.
std::optional<int> take_rounds(std::vector<char*>& arguments) {
  const std::optional<std::string> text = take_value(arguments, "--rounds=");
  if (!text) return kRounds;
  int rounds = 0;
  const char* const begin = text->data();
  const char* const end = begin + text->size();
  const auto [stopped, error] = std::from_chars(begin, end, rounds);
  if (error != std::errc{} || stopped != end || rounds < 1) return std::nullopt;
  return rounds;
}

}  // namespace

std::optional<std::string> take_value(std::vector<char*>& arguments, std::string_view flag) {
  std::optional<std::string> value;
  std::erase_if(arguments, [&](const char* one) {
    const std::string_view argument = one;
    if (!argument.starts_with(flag)) return false;
    value = argument.substr(flag.size());
    return true;
  });
  return value;
}

Claim no_slower(std::string ours, std::string peer) {
  return at_most(std::move(ours), std::move(peer), kNoSlower);
}

Claim at_most(std::string ours, std::string peer, double limit) {
  return {std::move(ours), std::move(peer), Bound::at_most, limit, {}};
}

Claim times_as_fast(std::string ours, std::string peer, double limit) {
  return {std::move(peer), std::move(ours), Bound::at_least, limit, {}};
}

Claim shown(std::string ours, std::string peer) {
  return {std::move(peer), std::move(ours), Bound::none, 0, {}};
}

Claim figure_at_most(std::string row, double limit, std::string counter) {
  return {std::move(row), {}, Bound::at_most, limit, std::move(counter)};
}

int run(int argc, char** argv, std::span<const Claim> claims, std::span<const std::string> notes) {
  std::vector<char*> arguments(argv, argv + argc);
  const std::optional<int> rounds = take_rounds(arguments);
  if (!rounds) {
    std::fputs("--rounds takes a number, at least 1\n", stderr);
    return 2;
  }
  const std::optional<std::string> json = take_value(arguments, "--json=");
  // These defaults come first, so that the command line overrides them.
  char interleave[] = "--benchmark_enable_random_interleaving=true";
  char min_time[] = "--benchmark_min_time=0.02";
  arguments.insert(arguments.begin() + 1, {interleave, min_time});
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;

  Collector all;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  for (int round = 1; round <= *rounds; ++round) {
    if (terminal) std::fprintf(stderr, "\rround %d of %d ", round, *rounds);
    benchmark::RunSpecifiedBenchmarks(&all);
    if (all.rows().empty()) return 0;  // nothing matched, or the benchmarks were only listed
    if (json && !write_json(*json, round, all, claims, notes)) return 1;
  }
  if (terminal) std::fputs("\r\x1b[K", stderr);

  for (const std::string& note : notes) std::puts(note.c_str());
  std::printf("%d interleaved rounds\n", *rounds);
  print_rows(all);
  print_claims(all, claims);
  benchmark::Shutdown();
  return 0;
}

}  // namespace compare
