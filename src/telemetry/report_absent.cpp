// Of a build without kainjow's mustache.

#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/report.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

std::string report_html(const Recording&) {
  throw InvalidArgument("this tapedeck was built without reports",
                        "build it where kainjow's mustache is (Debian: libkainjow-mustache-dev)");
}

}  // namespace tapedeck::inline TAPEDECK_ABI
