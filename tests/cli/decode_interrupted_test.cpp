// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <algorithm>

#include "cli/models.hpp"
#include "cli/program.hpp"

namespace tapedeck::tests {
namespace {

// A run that takes a while: 200 conversations.
Words long_run() { return with_talks(200, {"decode", made_large(), "-n", "0", "--threads", "1"}); }

TEST(DecodeInterrupted, ASignalStopsAfterTheToken) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    Piped decode(long_run());
    EXPECT_NE(decode.pipe.read.read_some(), "");
    decode.program.send(signal);
    const Ran ran = decode.finish();
    EXPECT_EQ(ran.exit_code, 130);
    EXPECT_TRUE(ran.out.ends_with('\n'));
    EXPECT_LT(std::ranges::count(ran.out, '\n'), 100);  // it did not reach the end
    EXPECT_THAT(ran.err, Like("* token* in * s, * tokens/s\n"));
  }
}

TEST(DecodeInterrupted, ASignalEndsEvenABlockedWrite) {
  Piped decode(long_run(), 4096);
  ASSERT_TRUE(decode.program.waits_to_write());
  decode.program.send(SIGINT);
  EXPECT_EQ(decode.program.wait().exit_code, 130);
}

TEST(DecodeInterrupted, NohupKeepsItRunning) {
  const Words words = with_talks(20, {"decode", made_large(), "-n", "0", "--threads", "1"});
  Piped decode(words, 4096, {.ignores_hangups = true});
  ASSERT_TRUE(decode.program.waits_to_write());
  decode.program.send(SIGHUP);
  const Ran ran = decode.finish();
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(std::ranges::count(ran.out, '\n'), 20);
}

TEST(DecodeInterrupted, AClosedStandardOutputIsRefused) {
  const std::string model = made_large();
  for (const Words& words : {long_run(),
                             {"plan", model},
                             {"show", model},
                             {"resident", model},
                             {"warm", model},
                             {"--help"}}) {
    EXPECT_TRUE(refuses(run(words, {.no_out = true}), "standard output is closed")) << words[0];
  }
}

}  // namespace
}  // namespace tapedeck::tests
