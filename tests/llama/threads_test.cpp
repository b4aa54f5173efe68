// SPDX-License-Identifier: Apache-2.0
// Every object with a thread, where its process forks or exits, and where another thread destroys
// it.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <utility>

#include "base/thrown.hpp"
#include "llama/streamed_llama.hpp"
#include "llama/support.hpp"
#include "llama/thread_pool.hpp"
#include "os/child.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/device_layout.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"
#include "tapedeck/weights/warm_job.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::tests {
namespace {

/// Owns an object with a thread, and whatever it needs.
using Owner = std::shared_ptr<void>;

struct ThreadedObject {
  const char* name;
  Owner (*make)();
};
void PrintTo(const ThreadedObject& one, std::ostream* out) { *out << one.name; }

std::filesystem::path threads_model() { return made_once("threads.bin", kSmall); }

Owner pool_of_threads() {
  auto pool = std::make_shared<llama::ThreadPool>(3);
  pool->split(3, 1'000'000, [](std::size_t, std::size_t) noexcept {});
  return pool;
}

Owner device_with_stream() {
  struct Both {
    HostDevice device{{.memory = 4_MiB}};
    DeviceStream stream{device};
  };
  auto both = std::make_shared<Both>();
  both->stream.synchronize();
  return both;
}

Owner layout_that_grows_ahead() {
  struct Both {
    explicit Both(const llama::LlamaModel& model)
        : layout(device, model.plan(0), {.commit = Commit::with_talks, .ahead = 16}) {
      layout.talk(0).prepare(1);
    }
    HostDevice device{{.memory = 64_MiB}};
    DeviceLayout layout;
  };
  return std::make_shared<Both>(llama::LlamaModel(threads_model()));
}

// With the least memory, in which layers take turns.
Owner layer_streamer() {
  struct All {
    explicit All(std::size_t memory) : device({.memory = memory, .granularity = kPage}) {}
    HostDevice device;
    llama::LlamaModel model{threads_model()};
    llama::StreamedLlama streamed{model, device, {.slots = 1}};
  };
  const auto error = thrown<OutOfMemory>([] { const All none(4_KiB); });
  return std::make_shared<All>(error.needed());
}

Owner warm_job() {
  struct Both {
    Weights weights = Weights::open(threads_model());
    WarmJob job = weights.start_warm({.threads = 2});
  };
  return std::make_shared<Both>();
}

Owner metrics_server() {
  struct Both {
    Layout layout{{.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB}};
    MetricsServer server{{{&layout, "chat"}}, ":0"};
  };
  return std::make_shared<Both>();
}

class WithThread : public ::testing::TestWithParam<ThreadedObject> {
 protected:
  /// Skips the test where this build lacks the object.
  void SetUp() override {
    try {
      owner_ = GetParam().make();
    } catch (const Unsupported& error) {
      GTEST_SKIP() << error.what();
    }
  }
  Owner owner_;
};

INSTANTIATE_TEST_SUITE_P(Objects, WithThread,
                         ::testing::Values(ThreadedObject{"ThreadPool", pool_of_threads},
                                           ThreadedObject{"HostDevice", device_with_stream},
                                           ThreadedObject{"DeviceLayout", layout_that_grows_ahead},
                                           ThreadedObject{"LayerStreamer", layer_streamer},
                                           ThreadedObject{"WarmJob", warm_job},
                                           ThreadedObject{"MetricsServer", metrics_server}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(WithThread, ADestructorEndsInAForkedChild) {
  in_child([&] { owner_.reset(); });
  owner_.reset();
}

TEST_P(WithThread, AForkedChildMayHaveItsOwn) {
  in_child([&] { GetParam().make().reset(); });
}

TEST_P(WithThread, AForkedChildExits) {
  const Ended ended = Child([] { std::exit(0); }).wait();
  EXPECT_TRUE(passed(ended));
}

// A static object is destroyed while the process exits, and a leaked one is not.
TEST_P(WithThread, AProcessExits) {
  for (const bool leaked : {false, true}) {
    const Ended ended = Child([&] {
                          static Owner kept;
                          kept = GetParam().make();
                          if (leaked) static_cast<void>(new Owner(std::move(kept)));
                          std::exit(0);
                        }).wait();
    EXPECT_TRUE(passed(ended)) << leaked;
  }
}

TEST_P(WithThread, AnotherThreadDestroysIt) {
  std::thread([owner = std::move(owner_)]() mutable { owner.reset(); }).join();
  EXPECT_EQ(owner_, nullptr);
}

}  // namespace
}  // namespace tapedeck::tests
