// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <thread>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "tapedeck/base/bytes.hpp"
#include "telemetry/prometheus.hpp"

namespace tapedeck::tests {
namespace {

/// A model, and a talk whose output is larger than a pipe of 4 KiB.
class DecodeMetrics : public ::testing::Test {
 protected:
  void SetUp() override {
#if !defined(TAPEDECK_WITH_PROMETHEUS)
    GTEST_SKIP() << "built without prometheus-cpp (Debian: prometheus-cpp-dev)";
#endif
  }
  [[nodiscard]] static Words decode(const std::string& address) {
    return with_talks(4, {"decode", made_large(), "-n", "0", "--ids", "--stat",  //
                          "--metrics", address});
  }
};

/// A program that has filled the pipe and waits until it is read, so its figures do not change.
class Stopped {
 public:
  explicit Stopped(const Words& words) : piped_(words, 4096, {.err = err_.write.get()}) {
    err_.write.close();
    const std::string said = err_.read.read_some();
    std::smatch parts;
    if (std::regex_search(said, parts,
                          std::regex("metrics at http://(127\\.0\\.0\\.1:[0-9]+)/metrics\n"))) {
      address_ = parts[1];
    }
    EXPECT_TRUE(piped_.program.waits_to_write());
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  /// Lets it continue. Returns the exit code, and what it printed meanwhile on standard error.
  [[nodiscard]] std::pair<int, std::string> finish() {
    std::string said;
    std::thread reader([&] { said = err_.read.read_all(); });
    const int exit_code = piped_.finish().exit_code;
    reader.join();
    return {exit_code, said};
  }

 private:
  Pipe err_;
  Piped piped_;
  std::string address_;
};

/// The series of the layout in an exposition.
Series series_in(const std::string& exposition) {
  Series series;
  std::istringstream lines(exposition);
  for (std::string line; std::getline(lines, line);) {
    const bool ours = line.starts_with("tapedeck_tape_") || line.starts_with("tapedeck_layout_") ||
                      line.starts_with("tapedeck_phase_");
    if (ours) series[line.substr(0, line.rfind(' '))] = std::stod(line.substr(line.rfind(' ')));
  }
  return series;
}

TEST_F(DecodeMetrics, ArePrometheusFiguresAndThoseOfStat) {
  if (prometheus_program("prometheus").empty()) {
    GTEST_SKIP() << "Prometheus is not installed (Debian: prometheus)";
  }
  Stopped decoding(decode(":0"));
  ASSERT_NE(decoding.address(), "");
  Series scraped = Prometheus(decoding.address()).series();
  const Series told = series_in(http_get(port_of(decoding.address()), "/metrics"));
  EXPECT_GT(scraped.at("tapedeck_process_rss_anon_bytes"), 0);
  EXPECT_EQ(scraped.at("tapedeck_process_model_file_bytes"),
            static_cast<double>(std::filesystem::file_size(made_large())));
  std::erase_if(scraped,
                [](const auto& one) { return one.first.starts_with("tapedeck_process_"); });
  EXPECT_GT(told.size(), 3 * 10U);
  EXPECT_EQ(scraped, told);

  const auto of_phase = [&](const std::string& name, const std::string& phase) {
    return told.at("tapedeck_phase_" + name + "{layout=\"decode\",phase=\"" + phase + "\"}");
  };
  EXPECT_EQ(of_phase("entered_total", "load"), 1);
  EXPECT_EQ(of_phase("passes_total", "load"), 0);
  EXPECT_GE(of_phase("entered_total", "prefill"), 1);
  EXPECT_GE(of_phase("passes_total", "prefill"), 2);
  EXPECT_EQ(of_phase("entered_total", "decode"), of_phase("entered_total", "prefill"));
  EXPECT_GT(told.at("tapedeck_phase_peak_bytes{layout=\"decode\",phase=\"prefill\",place=\"host\","
                    "tape=\"history\"}"),
            0);

  const auto [exit_code, said] = decoding.finish();
  EXPECT_EQ(exit_code, 0);
  const std::string stat = unwrapped(said);
  // Three of four talks have ended; more passes followed the scrape.
  std::string expected = "...\n* tokens in *\nlayout: *, conversations 3, *\n";
  for (const std::string tape : {"weights", "scratch", "history"}) {
    const auto size = [&](const std::string& name) {
      std::string series = "tapedeck_tape_" + name;
      series += "_bytes{layout=\"decode\",place=\"host\",tape=\"" + tape + "\"}";
      const double bytes = told.at(series);
      return name + " " + to_iec(static_cast<std::uint64_t>(bytes));
    };
    expected += tape + ": *, " + size("reserved") + ", *, " + size("committed") + ", " +
                size("planned") + ", *\n";
  }
  EXPECT_THAT(stat,
              Like(expected + "phase load: *\nphase prefill: *\nphase decode: entered 4, *\n"));
  std::smatch passes;
  ASSERT_TRUE(std::regex_search(stat, passes, std::regex("passes ([0-9]+)")));
  const double then = told.at("tapedeck_layout_passes_total{layout=\"decode\"}");
  EXPECT_GT(then, 0);
  EXPECT_GT(std::stod(passes[1]), then);
}

TEST_F(DecodeMetrics, AreRefusedAtAddressesThatCannotBeBound) {
  for (const char* const none : {"", "127.0.0.1", "9464", ":", ":x", ":65536"}) {
    EXPECT_TRUE(refuses(run(decode(none)), "the metrics address "));
  }
  const Socket other;
  const std::string taken = "127.0.0.1:" + std::to_string(other.listen());
  EXPECT_TRUE(refuses(run(decode(taken)), "bind of " + taken + " failed: EADDRINUSE"));
  EXPECT_TRUE(
      refuses(run(decode("192.0.2.1:9464")), "bind of 192.0.2.1:9464 failed: EADDRNOTAVAIL"));
}

// Although the program has other threads.
TEST_F(DecodeMetrics, StillEndWithASignal) {
  Pipe err;
  Program program(decode(":0"), {.err = err.write.get()});
  err.write.close();
  EXPECT_THAT(err.read.read_some(), Like("metrics at http://127.0.0.1:*/metrics\n..."));
  program.send(SIGINT);
  EXPECT_EQ(program.wait().exit_code, 130);
}

}  // namespace
}  // namespace tapedeck::tests
