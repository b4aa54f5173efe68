// Of a build without prometheus-cpp.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(MetricsAbsent, SayWhatIsMissing) {
  const Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  const Snapshot now = snapshot_of(layout, "chat");
  EXPECT_THROW(static_cast<void>(metrics_text({&now, 1})), InvalidArgument);
  EXPECT_THAT(
      [&] {
        const MetricsServer server({{&layout, "chat"}}, ":0");
      },
      ThrowsMessage<InvalidArgument>(HasSubstr("prometheus-cpp-dev")));
}

}  // namespace
}  // namespace tapedeck::tests
