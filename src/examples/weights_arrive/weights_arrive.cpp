// SPDX-License-Identifier: Apache-2.0
// Weights while they arrive: the first layer can compute while the last one is still being read.
//
//   weights_arrive MODEL     a GGUF, safetensors or llama2.c file

#include <algorithm>
#include <cstddef>
#include <exception>
#include <iostream>
#include <tapedeck/weights.hpp>

using namespace tapedeck;

namespace {

// The files of llama2.c have one tensor of each kind, which holds all layers.
bool has_separate_layers(const Weights& weights) {
  return std::ranges::any_of(weights.tensors().entries(),
                             [](const TensorEntry& tensor) { return tensor.id.layer.has_value(); });
}

void run(const char* path) {
  Weights weights = Weights::open(path);  // checks every tensor against the file, reads no weights
  if (!has_separate_layers(weights)) {
    std::cout << "each tensor of this model holds a part of all layers, so no layer is complete "
                 "before the last one; try a GGUF or safetensors model\n";
  }
  WarmJob job = weights.start_warm({}, layer_order(weights.tensors()));

  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!job.wait_for(i)) break;  // the job has ended; wait() below says why
    const TensorView tensor = weights[i];
    std::cout << tensor.name << ": " << to_iec(tensor.bytes.size()) << "; "
              << to_iec(job.progress().done) << " have arrived\n";
  }

  job.wait().or_throw("warming the weights");
  for (const WeightsFile& file : weights.files()) {
    std::cout << file.path.filename() << ": " << to_string(file.way) << ", " << file.why << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: weights_arrive MODEL\n";
    return 2;
  }
  try {
    run(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
