// Of a build without kainjow's mustache.

#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/report/report.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

std::string report_html(const Recording&) {
  throw Unsupported("reports", "this build of Tapedeck makes no reports",
                    "build it where kainjow's mustache is (Debian: libkainjow-mustache-dev)");
}

}  // namespace tapedeck::inline TAPEDECK_ABI
