// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/error.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <exception>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

template <class Caught, class Thrown>
std::string text_when_caught_as(const Thrown& error) {
  try {
    throw error;
  } catch (const Caught& caught) {
    return caught.what();
  }
  return "not caught";
}

// Every error of ours can be caught as Error, and as a standard exception by code that does not
// know the library.
template <class Thrown, class Standard = std::runtime_error>
void expect_caught_everywhere(const Thrown& error) {
  const std::string text = error.what();
  EXPECT_EQ(text_when_caught_as<Thrown>(error), text);
  EXPECT_EQ(text_when_caught_as<Error>(error), text);
  EXPECT_EQ(text_when_caught_as<Standard>(error), text);
  EXPECT_EQ(text_when_caught_as<std::exception>(error), text);
}

TEST(InvalidArgument, SaysTheMistakeAndTheWayOut) {
  const InvalidArgument plain("a block of 0 bytes");
  EXPECT_STREQ(plain.what(), "a block of 0 bytes");
  EXPECT_EQ(plain.advice(), "");
  const InvalidArgument error("a step of 3", "use a multiple of 64");
  EXPECT_STREQ(error.what(), "a step of 3; use a multiple of 64");
  EXPECT_EQ(error.advice(), "use a multiple of 64");
  expect_caught_everywhere(error);
}

std::vector<std::string> names_of(const Error& error) {
  std::vector<std::string> names;
  for (const ErrorFact& fact : error.facts()) names.emplace_back(fact.name);
  return names;
}

TEST(InvalidArgument, HasTheArgumentAndItsValue) {
  const InvalidArgument error({.argument = "LayoutOptions::talks", .value = 0, .limit = 1},
                              "LayoutOptions::talks is 0", "hold at least one talk");
  EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
  EXPECT_EQ(error.argument(), "LayoutOptions::talks");
  EXPECT_EQ(error.value(), 0U);
  EXPECT_EQ(error.limit(), 1U);
  EXPECT_EQ(error.message(), "LayoutOptions::talks is 0");
  EXPECT_THAT(names_of(error), ElementsAre("argument", "value", "limit"));
  EXPECT_THAT(names_of(InvalidArgument("a mistake")), IsEmpty());
}

TEST(WrongState, HasTheObjectAndItsState) {
  const WrongState error("tape history", ObjectState::sealed, "tape history would have to grow");
  EXPECT_EQ(error.kind(), ErrorKind::wrong_state);
  EXPECT_EQ(error.object(), "tape history");
  EXPECT_EQ(error.state(), ObjectState::sealed);
  EXPECT_THAT(names_of(error), ElementsAre("object", "state"));
  expect_caught_everywhere(error);
}

TEST(Unsupported, HasTheFeature) {
  const Unsupported error("CUDA", "this build has no support for CUDA");
  EXPECT_EQ(error.kind(), ErrorKind::unsupported);
  EXPECT_EQ(error.feature(), "CUDA");
  EXPECT_EQ(error.message(), error.what());
  expect_caught_everywhere(error);
}

TEST(SystemError, NamesCallFileSizeAndReason) {
  const SystemError error(
      {.call = "mmap", .number = ENOMEM, .path = "/models/a.gguf", .bytes = 64 << 20},
      "close something");
  EXPECT_EQ(error.call(), "mmap");
  EXPECT_EQ(error.number(), ENOMEM);
  EXPECT_EQ(error.name(), "ENOMEM");
  EXPECT_EQ(error.path(), "/models/a.gguf");
  EXPECT_EQ(error.bytes(), std::size_t{64} << 20);
  EXPECT_EQ(error.advice(), "close something");
  EXPECT_STREQ(error.what(),
               "mmap of /models/a.gguf (64 MiB) failed: ENOMEM, Cannot allocate memory; "
               "close something");
  expect_caught_everywhere(error);
}

TEST(SystemError, NamesWhatACallWasFor) {
  const SystemError error(
      {.call = "mmap", .number = ENOMEM, .bytes = 64 << 20, .object = "tape scratch"});
  EXPECT_EQ(error.object(), "tape scratch");
  EXPECT_EQ(error.facts().back().value, "tape scratch");
  EXPECT_STREQ(error.what(),
               "mmap for tape scratch (64 MiB) failed: ENOMEM, Cannot allocate memory");
}

TEST(SystemError, LeavesOutWhatThereIsNot) {
  const SystemError error({.call = "ioctl", .number = 4711});
  EXPECT_EQ(error.name(), "errno 4711");
  EXPECT_EQ(error.message().substr(0, 26), "ioctl failed: errno 4711, ");
  EXPECT_EQ(error.message(), error.what());
  EXPECT_EQ(error.path(), "");
  EXPECT_EQ(error.bytes(), 0U);
  EXPECT_EQ(error.advice(), "");
}

TEST(OutOfMemory, SaysWhatForHowMuchAndWhatBoundsIt) {
  const OutOfMemory error({.purpose = "warming tape weights",
                           .limit = "memory cgroup /a/b, memory.max",
                           .needed = std::size_t{3} << 30,
                           .available = std::size_t{1536} << 20},
                          "plan a smaller tape");
  EXPECT_EQ(error.purpose(), "warming tape weights");
  EXPECT_EQ(error.limit(), "memory cgroup /a/b, memory.max");
  EXPECT_EQ(error.needed(), std::size_t{3} << 30);
  EXPECT_EQ(error.available(), std::size_t{1536} << 20);
  EXPECT_STREQ(error.what(),
               "warming tape weights needs 3 GiB, but only 1.5 GiB is left "
               "(memory cgroup /a/b, memory.max); plan a smaller tape");
  EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
  expect_caught_everywhere<OutOfMemory, std::bad_alloc>(error);
}

TEST(OutOfMemory, SaysBytesWhereRoundedBothWouldBeTheSame) {
  const OutOfMemory error({.purpose = "a talk",
                           .limit = "its free memory",
                           .needed = (832 << 10) + 1,
                           .available = 832 << 10});
  EXPECT_STREQ(error.what(),
               "a talk needs 851969 bytes, but only 851968 bytes are left (its free memory)");
}

TEST(OutOfMemory, NamesNoLimitThatIsNotKnown) {
  const OutOfMemory error({.purpose = "a talk", .needed = 2048, .available = 1024},
                          "it is 2 of 3; ", "close one");
  EXPECT_STREQ(error.what(), "it is 2 of 3; a talk needs 2 KiB, but only 1 KiB is left; close one");
  EXPECT_EQ(error.message(), "it is 2 of 3; a talk needs 2 KiB, but only 1 KiB is left");
  EXPECT_EQ(error.purpose(), "a talk");
}

TEST(FormatError, PointsAtTheByte) {
  const FormatError error({.path = "model.gguf",
                           .offset = 0x1'0000'0000,
                           .field = "output.weight",
                           .fault = FormatFault::out_of_range},
                          "a tensor of 7 dimensions", "convert again");
  EXPECT_EQ(error.path(), "model.gguf");
  EXPECT_EQ(error.offset(), 0x1'0000'0000U);
  EXPECT_EQ(error.field(), "output.weight");
  EXPECT_EQ(error.fault(), FormatFault::out_of_range);
  EXPECT_THAT(names_of(error), ElementsAre("path", "offset", "field", "fault"));
  EXPECT_STREQ(error.what(),
               "model.gguf, byte 4294967296: a tensor of 7 dimensions; convert again");
  EXPECT_EQ(error.advice(), "convert again");
  expect_caught_everywhere(error);
}

TEST(Error, KeepsItsFactsWhenCopied) {
  std::exception_ptr held;
  {
    const SystemError error({.call = "madvise", .number = EINVAL, .path = "p", .bytes = 1}, "a");
    held = std::make_exception_ptr(error);
  }
  try {
    std::rethrow_exception(held);
  } catch (const SystemError& error) {
    EXPECT_EQ(error.call() + error.name() + error.path() + std::string(error.advice()),
              "madviseEINVALpa");
  }
}

TEST(ErrnoName, AnswersEveryNumber) {
  EXPECT_EQ(errno_name(EPERM), "EPERM");
  EXPECT_EQ(errno_name(EOVERFLOW), "EOVERFLOW");
  for (const int number : {0, -1, 4711, std::numeric_limits<int>::max()}) {
    EXPECT_EQ(errno_name(number), "errno " + std::to_string(number));
  }
  for (int number = -10; number < 200; ++number) EXPECT_NE(errno_name(number), "");
}

}  // namespace
}  // namespace tapedeck::tests
