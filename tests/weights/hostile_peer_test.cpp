// SPDX-License-Identifier: Apache-2.0
// A receiver of shared weights that is sent something else reports a typed error, and keeps
// nothing.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "os/file.hpp"
#include "os/rights.hpp"
#include "os/self.hpp"
#include "os/socket_pair.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"
#include "tapedeck/weights/weights_builder.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

os::Descriptor memory_file(const std::string& bytes, int seals) {
  os::Descriptor file(::memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(::fcntl(file.get(), F_ADD_SEALS, seals), 0);
  return file;
}

class HostilePeer : public ::testing::Test {
 protected:
  static constexpr std::size_t kHere = 0;
  static constexpr std::size_t kThere = 1;

  void TearDown() override {
    sockets_.reset();
    EXPECT_TRUE(same(before_, holdings()));
  }
  [[nodiscard]] int here() const { return (*sockets_)[kHere]; }
  [[nodiscard]] int there() const { return (*sockets_)[kThere]; }

  // Sends like a peer that knows nothing of the library.
  void send(const std::vector<int>& descriptors, const std::string& bytes = "T") const {
    std::vector<std::max_align_t> control(
        CMSG_SPACE(descriptors.size() * sizeof(int)) / sizeof(std::max_align_t) + 1);
    std::string text = bytes;
    iovec part = {.iov_base = text.data(), .iov_len = text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
    }
    ASSERT_EQ(::sendmsg(here(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }

  [[nodiscard]] FormatError refusal() const {
    return thrown<FormatError>([&] { return Weights::receive(there()); });
  }
  [[nodiscard]] FormatError refusal_of(const std::string& bytes) const {
    const os::Descriptor file = memory_file(bytes, kSeals);
    send({file.get()});
    return refusal();
  }

  Holdings before_ = holdings();
  std::optional<SocketPair> sockets_{std::in_place};
};

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + rest;
}

/// An image with this header, 64 KiB in total.
std::string image_of(const std::string& header) {
  std::string bytes = with_length(header.size(), header);
  bytes.resize(std::max<std::size_t>(bytes.size(), 65536));
  return bytes;
}

std::string image_of_tensors(const std::string& tensors) {
  return image_of(R"({"tapedeck":1,"name":"n","tensors":[)" + tensors + "]}");
}

std::string tensor(const std::string& name, const std::string& shape, const std::string& offset,
                   const std::string& dtype = "u8") {
  return R"({"name":")" + name + R"(","dtype":")" + dtype + R"(","shape":)" + shape +
         R"(,"offset":)" + offset + "}";
}

TEST_F(HostilePeer, TheOtherEndHasGone) {
  sockets_->close(kHere);
  const auto error = thrown<SystemError>([&] { return Weights::receive(there()); });
  EXPECT_EQ(error.call(), "recvmsg");
  EXPECT_EQ(error.number(), EPIPE);
}

TEST_F(HostilePeer, WhatIsNoSocket) {
  const os::Descriptor file(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const Weights weights = WeightsBuilder({{.name = "a", .dtype = DType::u8, .shape = {1}}}).seal();
  const auto number_of_error = [](const std::function<void()>& work) {
    try {
      work();
    } catch (const SystemError& error) {
      return error.number();
    }
    return 0;
  };
  const auto receive = [&](int from) {
    return number_of_error([&] { return Weights::receive(from); });
  };
  const auto send_to = [&](int to) { return number_of_error([&] { weights.send(to); }); };
  EXPECT_EQ(receive(file.get()), ENOTSOCK);
  EXPECT_EQ(receive(-1), EBADF);
  EXPECT_EQ(send_to(file.get()), ENOTSOCK);
  EXPECT_EQ(send_to(-1), EBADF);
  EXPECT_EQ(number_of_error([] { return Weights::adopt(-1); }), EBADF);
}

TEST_F(HostilePeer, BytesWithoutADescriptor) {
  send({}, "hello");
  for (int time = 0; time < 5; ++time) EXPECT_EQ(refusal().fault(), FormatFault::missing);
}

TEST_F(HostilePeer, MoreThanOneDescriptor) {
  for (const std::size_t count : {2U, 4U, 5U, 200U}) {
    send(std::vector<int>(count, here()));
    EXPECT_EQ(refusal().fault(), FormatFault::missing);
  }
}

TEST_F(HostilePeer, DescriptorsInAnEmptyMessage) {
  sockets_.emplace(SOCK_SEQPACKET);
  for (const std::size_t count : {1U, 2U, 4U}) {
    send(std::vector<int>(count, here()), "");
    EXPECT_EQ(refusal().fault(), FormatFault::missing);
  }
}

TEST_F(HostilePeer, AGoodOneAfterABadOne) {
  const Weights owner = WeightsBuilder({{.name = "a", .dtype = DType::u8, .shape = {9}}}).seal();
  send({}, "x");
  EXPECT_EQ(refusal().fault(), FormatFault::missing);
  owner.send(here());
  EXPECT_EQ(Weights::receive(there()).size(), 1U);
}

TEST_F(HostilePeer, ADescriptorOfSomethingElse) {
  const TempFolder folder;
  const auto path = folder.write("a", std::string(4096, 'x'));
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const os::Descriptor from(pipe[0]);
  const os::Descriptor to(pipe[1]);
  const os::Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const os::Descriptor directory(::open(folder.path().c_str(), O_RDONLY | O_CLOEXEC));
  const os::Descriptor zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  for (const int one : {file.get(), directory.get(), zero.get(), from.get(), there()}) {
    send({one});
    EXPECT_EQ(refusal().fault(), FormatFault::not_this_format);
  }
}

// Whatever may still be done to the memory could be done while it is read.
TEST_F(HostilePeer, MemoryThatIsNotSealedEnough) {
  const std::string good = image_of_tensors(tensor("a", "[9]", "4096"));
  for (const int seals : {0, F_SEAL_WRITE, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_WRITE | F_SEAL_GROW,
                          F_SEAL_WRITE | F_SEAL_SHRINK, F_SEAL_SEAL}) {
    const os::Descriptor file = memory_file(good, seals);
    send({file.get()});
    EXPECT_EQ(refusal().fault(), FormatFault::not_this_format);
  }
  const os::Descriptor file = memory_file(good, kSeals);
  send({file.get()});
  EXPECT_EQ(Weights::receive(there())[0].bytes.size(), 9U);
}

TEST_F(HostilePeer, SealedMemoryThatIsNoWeights) {
  using enum FormatFault;
  const std::vector<std::pair<std::string, FormatFault>> all = {
      {"", cut_off},
      {"x", cut_off},
      {std::string(7, '\0'), cut_off},
      {std::string(8, '\0'), malformed},
      {std::string(100, '\xff'), out_of_range},
      {with_length(0, ""), malformed},
      {with_length(~std::uint64_t{0}, "{}"), out_of_range},
      {with_length(~std::uint64_t{0} - 7, "{}"), out_of_range},
      {with_length(3, "{}"), out_of_range},
      {with_length(100'000'001, "{}"), out_of_range},
      {image_of(""), malformed},
      {image_of("{}"), malformed},
      {image_of("[]"), malformed},
      {image_of("null"), malformed},
      {image_of("7"), malformed},
      {image_of("{\"tapedeck\":1,"), malformed},
      {image_of("\xff\xfe"), malformed},
      {image_of(std::string(2, '\0')), malformed},
      {image_of(R"({"tapedeck":2,"name":"n","tensors":[]})"), not_this_format},
      {image_of(R"({"tapedeck":"1","name":"n","tensors":[]})"), not_this_format},
      {image_of(R"({"tapedeck":1,"name":7,"tensors":[]})"), malformed},
      {image_of(R"({"tapedeck":1,"name":"n"})"), malformed},
      {image_of(R"({"tapedeck":1,"name":"n","tensors":7})"), malformed},
      {image_of(R"({"tapedeck":1,"name":"n","tensors":[7]})"), malformed},
      {image_of(R"({"tapedeck":1,"name":"n","tensors":{"x":)" + tensor("a", "[9]", "4096") + "}}"),
       malformed},
      {image_of(std::string(1'000'000, '[')), malformed},
      {image_of(std::string(30'000, '[') + std::string(30'000, ']')), malformed},
      {image_of(R"({"tapedeck":1,"name":"n","tensors":)" + std::string(500'000, '[') +
                std::string(500'000, ']') + "}"),
       malformed},
  };
  for (const auto& [bytes, fault] : all) {
    SCOPED_TRACE(bytes.substr(0, 60));
    const FormatError error = refusal_of(bytes);
    EXPECT_EQ(error.fault(), fault) << error.what();
    EXPECT_EQ(error.path(), "shared weights");
  }
}

TEST_F(HostilePeer, TensorsThatCannotBe) {
  using enum FormatFault;
  const std::vector<std::pair<std::string, FormatFault>> all = {
      {tensor("a", "[65536]", "64"), out_of_range},                    // exceeds the memory
      {tensor("a", "[9]", "65536"), out_of_range},                     // is after the memory
      {tensor("a", "[9]", "18446744073709551552"), out_of_range},      // wraps around
      {tensor("a", "[18446744073709551615]", "4096"), out_of_range},   // is too long
      {tensor("a", "[4294967296,4294967296]", "4096"), out_of_range},  // overflows
      {tensor("a", "[9]", "0"), out_of_range},                         // is in the header
      {tensor("a", "[9]", "64"), out_of_range},                        // is at the header's end
      {tensor("a", "[0]", "0"), out_of_range},     // has no bytes, in the header
      {tensor("a", "[9]", "4097"), out_of_range},  // is not aligned
      {tensor("a", "[9]", "-64"), wrong_type},
      {tensor("a", "[-9]", "4096"), wrong_type},
      {tensor("a", "[9]", "\"4096\""), wrong_type},
      {tensor("a", "[9]", "null"), wrong_type},
      {tensor("a", "[9]", "true"), wrong_type},
      {tensor("a", "[9]", "4096.0"), wrong_type},  // is not an integer
      {tensor("a", "[9]", "8e92"), wrong_type},
      {tensor("a", "[9e-1]", "4096"), wrong_type},
      {tensor("a", "[1e99]", "4096"), wrong_type},
      {tensor("a", "[9,-1]", "4096"), wrong_type},
      {tensor("a", R"({"x":9})", "4096"), malformed},
      {tensor("a", "9", "4096"), malformed},
      {tensor("a", "[[9]]", "4096"), malformed},
      {tensor("a", "[1,1,1,1,1,1,1,1,1]", "4096"), out_of_range},  // has nine dimensions
      {tensor("a", "[9]", "4096", "q9_9"), unsupported},           // has no known type
      {tensor("a", "[31]", "4096", "q8_0"), out_of_range},         // is not a whole block
      {tensor("a", "[4097]", "4096") + "," + tensor("b", "[9]", "8192"),
       contradictory},  // overlaps another tensor
      {tensor("b", "[9]", "8192") + "," + tensor("a", "[9999]", "4096"), contradictory},
      {tensor("a", "[9]", "8192") + "," + tensor("b", "[9]", "8192"), contradictory},
      {R"({"name":"a","dtype":"u8","shape":[9]})", malformed},
      {R"({"name":"a","dtype":"u8","offset":4096})", malformed},
      {R"({"name":"a","shape":[9],"offset":4096})", malformed},
      {R"({"dtype":"u8","shape":[9],"offset":4096})", malformed},
  };
  for (const auto& [tensors, fault] : all) {
    SCOPED_TRACE(tensors);
    const FormatError error = refusal_of(image_of_tensors(tensors));
    EXPECT_EQ(error.fault(), fault) << error.what();
    // An error in something that is not a list of tensors names no tensor.
    EXPECT_EQ(error.field().empty(), fault == malformed) << error.field();
  }
  const std::string twins = tensor("a", "[9]", "4096") + "," + tensor("a", "[9]", "8192");
  EXPECT_EQ(refusal_of(image_of_tensors(twins)).path(), "shared:n");
}

// Refusing what a peer sends must not cost many times its size.
TEST_F(HostilePeer, AHeaderOfBracketsAloneCostsLittle) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the addresses that this test removes";
  std::string brackets;
  brackets.resize(20'000'000, '[');
  const os::Descriptor file = memory_file(image_of(brackets), kSeals);
  in_child([&] {
    limit(RLIMIT_AS, number_of("/proc/self/status", "VmSize:") * 1024 + 128_MiB);
    EXPECT_THROW(static_cast<void>(Weights::adopt(file.get())), FormatError);
  });
}

// A header with some changed bytes is refused, or what it describes is within the memory.
TEST_F(HostilePeer, AHeaderWithChangedBytes) {
  const std::string good =
      image_of_tensors(tensor("a", "[9,3]", "4096") + "," + tensor("b", "[64]", "8192", "q8_0") +
                       "," + tensor("c", "[]", "12288", "f32"));
  const std::size_t header = good.find('\0', 8);
  std::mt19937 random(1);  // the fuzzer covers other seeds
  std::size_t refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = good;
    for (std::size_t changes = 1 + random() % 3; changes != 0; --changes) {
      const std::string_view alphabet = "0123456789[]{}\",:-eabu \xff";
      bytes[random() % header] = alphabet[random() % alphabet.size()];
    }
    const os::Descriptor file = memory_file(bytes, kSeals);
    try {
      const Weights weights = Weights::adopt(file.get());
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const std::string copy(reinterpret_cast<const char*>(weights[i].bytes.data()),
                               weights[i].bytes.size());
        EXPECT_LE(copy.size(), bytes.size());
      }
    } catch (const FormatError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 400U);
}

}  // namespace
}  // namespace tapedeck::tests
