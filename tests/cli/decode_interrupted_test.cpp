#include <gmock/gmock.h>

#include <algorithm>

#include "cli/models.hpp"
#include "cli/program.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::MatchesRegex;

// A talk that goes on for a while: 200 conversations.
Words long_run(const std::string& model) {
  Words words = {"decode", model, "-n", "0", "--threads", "1"};
  for (int talk = 0; talk < 200; ++talk) words.insert(words.end(), {"-p", "bo"});
  return words;
}

class DecodeInterrupted : public ::testing::Test {
 protected:
  TempFolder folder_;
  std::string model_ = made_for_long_talks();
};

TEST_F(DecodeInterrupted, ASignalStopsAfterTheToken) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Pipe pipe;
    Program program(long_run(model_), {.out = pipe.write.get()});
    pipe.write.close();
    std::string out = pipe.read.read_some();
    EXPECT_NE(out, "");
    program.send(signal);
    out += pipe.read.read_all();
    const Ran ran = program.wait();
    EXPECT_EQ(ran.exit_code, 130);
    EXPECT_TRUE(out.ends_with('\n'));
    EXPECT_LT(std::count(out.begin(), out.end(), '\n'), 100);  // it was not through
    EXPECT_THAT(ran.err, MatchesRegex("[0-9]+ tokens in [0-9.]+ s, [0-9.]+ tokens/s\n"));
  }
}

TEST_F(DecodeInterrupted, ASignalEndsEvenAWriteThatNobodyReads) {
  Pipe pipe;
  ASSERT_GE(::fcntl(pipe.write.get(), F_SETPIPE_SZ, 4096), 4096);
  Program program(long_run(model_), {.out = pipe.write.get()});
  pipe.write.close();
  ASSERT_TRUE(program.waits_to_write());
  program.send(SIGINT);
  EXPECT_EQ(program.wait().exit_code, 130);
}

TEST_F(DecodeInterrupted, AClosedOutputEndsItQuietly) {
  Pipe pipe;
  Program program(long_run(model_), {.out = pipe.write.get()});
  pipe.write.close();
  EXPECT_NE(pipe.read.read_some(), "");
  pipe.read.close();
  const Ran ran = program.wait();
  EXPECT_EQ(ran.exit_code, 141);
  EXPECT_EQ(ran.err, "");
}

TEST_F(DecodeInterrupted, WithoutAnOutputThereIsNothingToDoIt) {
  EXPECT_TRUE(refuses(run(long_run(model_), {.no_out = true}), "standard output is closed"));
  for (const char* command : {"plan", "show", "resident", "warm"}) {
    EXPECT_TRUE(refuses(run({command, model_}, {.no_out = true}), "standard output is closed"))
        << command;
  }
  EXPECT_TRUE(refuses(run({"--help"}, {.no_out = true}), "standard output is closed"));
}

TEST_F(DecodeInterrupted, AFullDiskIsAnError) {
  const End full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_GE(full.get(), 0);
  EXPECT_TRUE(refuses(run(long_run(model_), {.out = full.get()}), "ENOSPC"));
}

}  // namespace
}  // namespace tapedeck::tests
