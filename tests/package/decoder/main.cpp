// SPDX-License-Identifier: Apache-2.0
// decoder MODEL: exits with 0 if a copy of the decoder decodes a model of random weights.

#include <atomic>
#include <cstddef>
#include <string>
#include <tapedeck/layout/layout.hpp>
#include <vector>

#include "llama/arrival.hpp"
#include "llama/decoder.hpp"
#include "llama/sampler.hpp"
#include "llama/talk.hpp"
#include "llama/tokenizer.hpp"

using namespace tapedeck::llama;

int main(int argc, char** argv) {
  if (argc != 2) return 1;
  constexpr std::size_t kTokens = 12;
  const std::atomic<bool> stop{false};
  LlamaModel model(argv[1]);
  const Tokenizer tokenizer(std::string(argv[1]) + ".tokenizer", model.shape().vocab);
  tapedeck::Layout layout(model.plan(kTokens), model.options());
  ThreadPool pool(2);
  Decoder decoder(model, layout, pool);
  bring_in(model);

  std::vector<std::vector<TokenId>> talks(2);
  for (std::vector<TokenId>& tokens : talks) {
    Sampler sampler(1, 7);
    const OnToken on_token = [&](TokenId, TokenId token) {
      tokens.push_back(token);
      return true;
    };
    const std::size_t passes =
        hold_talk(decoder, sampler, tokenizer.encode("ba"), kTokens, {}, stop, on_token);
    if (passes != kTokens || layout.talk(0).tokens() != kTokens) return 2;
    decoder.clear_talk();
  }
  return talks[0] == talks[1] ? 0 : 3;
}
