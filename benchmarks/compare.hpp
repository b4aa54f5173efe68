// SPDX-License-Identifier: Apache-2.0
/// @file
/// Shared code of the benchmark programs: interleaved rounds, paired ratios, and claims about them.
///
/// Every round runs each benchmark once, in a new random order, so a disturbance affects all rows
/// of a round. Ratios are computed within a round. Google Benchmark does the timing itself.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace compare {

enum class Bound : std::uint8_t { none, at_most, at_least };

/// A claim about the ratio of two rows, or about a figure of one row.
struct Claim {
  std::string row;      ///< The name of a registered benchmark.
  std::string over;     ///< The row that it is divided by; if empty, the figure of `row` itself.
  Bound bound;          ///< With `none` the value is only shown.
  double limit;         ///< The limit; ignored if `bound` is `none`.
  std::string counter;  ///< The name of a counter; if empty, nanoseconds per item.
};

/// "No slower": the interval of ours / peer ends at or below 1.05.
[[nodiscard]] Claim no_slower(std::string ours, std::string peer);
/// ours / peer is at most `limit`.
[[nodiscard]] Claim at_most(std::string ours, std::string peer, double limit);
/// peer / ours is at least `limit`: ours is at least `limit` times as fast.
[[nodiscard]] Claim times_as_fast(std::string ours, std::string peer, double limit);
/// peer / ours, without a target.
[[nodiscard]] Claim shown(std::string ours, std::string peer);
/// A row's own figure is at most `limit`.
[[nodiscard]] Claim figure_at_most(std::string row, double limit, std::string counter = {});

/// Removes every argument that begins with `flag`, such as "--rounds=", and returns the text after
/// `flag` in the last of them.
[[nodiscard]] std::optional<std::string> take_value(std::vector<char*>& arguments,
                                                    std::string_view flag);

/// Runs the registered benchmarks in rounds and prints each row, then each claim with its verdict.
/// With `--json=FILE` among the arguments it also writes rows and claims to FILE after every round.
/// Returns main's exit code. A missed target is not a failure.
/// @param notes  lines to print above the table.
[[nodiscard]] int run(int argc, char** argv, std::span<const Claim> claims,
                      std::span<const std::string> notes = {});

}  // namespace compare
