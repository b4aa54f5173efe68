/// @file
/// What the benchmark programs share: interleaved rounds, paired ratios, and what is claimed of
/// them.
///
/// Every round runs each benchmark once, in a random order of its own, so what disturbs a round
/// disturbs all rows of it; ratios are taken within a round. Timing itself is Google Benchmark's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace compare {

enum class Bound : std::uint8_t { none, at_most, at_least };

/// Something a program claims: of the ratio of two rows, or of one row's own figure.
struct Claim {
  std::string row;      ///< A benchmark, by the name it was registered with.
  std::string over;     ///< The row it is divided by; empty: the figure of `row` itself.
  Bound bound;          ///< `none`: only shown.
  double limit;         ///< What the bound is; not looked at for `none`.
  std::string counter;  ///< The figure: a counter's name; empty: nanoseconds an item.
};

/// "No slower": the interval of ours / peer ends at or below 1.05.
[[nodiscard]] Claim no_slower(std::string ours, std::string peer);
/// ours / peer is at most `limit`.
[[nodiscard]] Claim at_most(std::string ours, std::string peer, double limit);
/// peer / ours is at least `limit`: ours is so many times as fast.
[[nodiscard]] Claim times_as_fast(std::string ours, std::string peer, double limit);
/// peer / ours, without a target.
[[nodiscard]] Claim shown(std::string ours, std::string peer);
/// A row's own figure is at most `limit`.
[[nodiscard]] Claim figure_at_most(std::string row, double limit, std::string counter = {});

/// Takes every argument that begins with `flag`, such as "--rounds=", out of the arguments and
/// returns what follows it in the last of them.
[[nodiscard]] std::optional<std::string> take_value(std::vector<char*>& arguments,
                                                    std::string_view flag);

/// Runs the registered benchmarks in rounds and prints each row, then each claim with its verdict.
/// With `--json=FILE` among the arguments it also writes all of that to FILE after every round.
/// @param notes  lines to print above the table.
/// Returns main's exit code. A missed target is no failure.
[[nodiscard]] int run(int argc, char** argv, std::span<const Claim> claims,
                      std::span<const std::string> notes = {});

}  // namespace compare
