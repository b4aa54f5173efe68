// SPDX-License-Identifier: Apache-2.0
// `report_html` in a build without kainjow's mustache.

#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/report/report.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

std::string report_html(const Recording&) {
  throw Unsupported(
      "reports", "this build of Tapedeck cannot generate reports",
      "install kainjow's mustache (Debian: libkainjow-mustache-dev) and build it again");
}

}  // namespace tapedeck::inline TAPEDECK_ABI
