// SPDX-License-Identifier: Apache-2.0
#include "os/process.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

constexpr const char* kRest = " 1 2 3 4 5 6 70 8 90 10 11 12 13 14 15 16 17 18 1234567 20 21\n";

os::ProcessStat stat_of(const std::string& line) {
  const TempFolder root;
  root.write("42/stat", line);
  return os::process_stat("42", {.proc = root.path()});
}

TEST(ProcessStat, IsWhatTheLineSays) {
  const os::ProcessStat stat = stat_of(std::string("42 (engine) S") + kRest);
  EXPECT_EQ(stat.error, 0);
  EXPECT_TRUE(stat.alive);
  EXPECT_EQ(stat.faults.minor, 70U);
  EXPECT_EQ(stat.faults.major, 90U);
  EXPECT_EQ(stat.start, 1'234'567U);
}

TEST(ProcessStat, StandsAnyName) {
  for (const char* const name : {"", ")", "a) Z 1 2 3 (", "a b\nc", "(((", "\x1b[2J"}) {
    const os::ProcessStat stat = stat_of("42 (" + std::string(name) + ") R" + kRest);
    EXPECT_TRUE(stat.alive) << name;
    EXPECT_EQ(stat.start, 1'234'567U) << name;
  }
}

TEST(ProcessStat, AnEndedProcessIsNotAlive) {
  EXPECT_FALSE(stat_of(std::string("42 (engine) Z") + kRest).alive);
  EXPECT_FALSE(stat_of(std::string("42 (engine) X") + kRest).alive);
  EXPECT_TRUE(stat_of(std::string("42 (engine) T") + kRest).alive);
}

TEST(ProcessStat, InvalidTextIsAnError) {
  const std::string good = std::string("42 (engine) S") + kRest;
  for (const std::string& line :
       {std::string(), std::string("42"), std::string("42 (engine"), std::string("42 (engine)"),
        std::string("42 (engine) S"), std::string("42 (engine) S 1 2 3 4 5 6 7\n"),
        good.substr(0, good.find("1234567")), "42 (engine) SS" + std::string(kRest),
        std::string("42 (engine) S 1 2 3 4 5 6 -70 8 90 10 11 12 13 14 15 16 17 18 1234567\n")}) {
    EXPECT_EQ(stat_of(line).error, EINVAL) << line;
  }
  EXPECT_EQ(os::process_stat("0").error, ENOENT);
}

TEST(ProcessStat, IsThatOfThisProcess) {
  const os::ProcessStat self = os::process_stat("self");
  EXPECT_TRUE(self.alive);
  EXPECT_EQ(self.start, os::process_stat(std::to_string(os::process_id())).start);
  rusage usage{};
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &usage), 0);
  EXPECT_LE(self.faults.minor, static_cast<std::uint64_t>(usage.ru_minflt));
  EXPECT_GT(self.faults.minor, 0U);
  EXPECT_NE(os::pid_namespace(), 0U);
}

TEST(ProcessStat, TellsAnotherProcessFromItsParent) {
  const pid_t child = ::fork();
  if (child == 0) {
    while (true) ::pause();
  }
  const std::string process = std::to_string(child);
  EXPECT_TRUE(os::process_stat(process).alive);
  EXPECT_GE(os::process_stat(process).start, os::process_stat("self").start);
  EXPECT_GT(os::process_memory({}, process).anonymous, 4_KiB);
  ::kill(child, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(os::process_stat(process).alive);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(os::process_stat(process).error, ENOENT);
}

TEST(ProcessArguments, AreThoseItWasStartedWith) {
  const auto arguments_of = [](const std::string& line) {
    const TempFolder root;
    root.write("self/cmdline", line);
    return os::process_arguments({.proc = root.path()});
  };
  using Arguments = std::vector<std::string>;
  EXPECT_EQ(arguments_of(std::string("engine\0-p\0a b\0\0", 15)),
            Arguments({"engine", "-p", "a b", ""}));
  EXPECT_EQ(arguments_of("not ended"), Arguments({"not ended"}));
  EXPECT_EQ(arguments_of(""), Arguments());
  EXPECT_EQ(os::process_arguments({.proc = "/nowhere"}), Arguments());
  EXPECT_FALSE(os::process_arguments().at(0).empty());
}

TEST(HostName, IsThatOfTheKernel) {
  utsname kernel{};
  ASSERT_EQ(::uname(&kernel), 0);
  EXPECT_EQ(os::host_name(), kernel.nodename);
}

}  // namespace
}  // namespace tapedeck::tests
