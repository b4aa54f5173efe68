// SPDX-License-Identifier: Apache-2.0
// Where every byte is: as one line, as JSON for a monitor, as advice, and over time as a page.
//
//   telemetry [PAGE.html]     writes the page to that file

#include <fstream>
#include <iostream>
#include <tapedeck/tapedeck.hpp>
#include <tapedeck/telemetry.hpp>

using namespace tapedeck;

int main(int argc, char** argv) {
  Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
  // The recorder is a ring that is allocated here, once.
  Recorder recorder(layout, {.name = "chat", .samples = 1000});
  Phases phases(layout, &recorder);

  for (const char* phase : {"prefill", "decode"}) {
    const PhaseScope scope(phases, phase);
    for (int pass = 0; pass < 100; ++pass) {
      if (layout.scratch().try_take(500_KiB) == nullptr) return 1;
      if (layout.history().try_take(4_KiB) == nullptr) return 1;
      layout.clear_pass();
      recorder.pass();  // takes a sample
    }
  }

  std::cout << layout.stat() << '\n';
  std::cout << to_json(snapshot_of(layout, "chat", {.phases = &phases})) << '\n';
  for (const TapeAdvice& tape : advise(layout).tapes) std::cout << tape.text << '\n';
  if (argc < 2) return 0;

  std::ofstream page(argv[1]);
  page << report_html(recorder.recording());
  return page.flush() ? 0 : 1;
}
