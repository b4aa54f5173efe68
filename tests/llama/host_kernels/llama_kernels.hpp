/// @file
/// The kernels of the decoder on the stand-in driver.
#pragma once

namespace tapedeck::tests {

/// From now on the stand-in computes them, on memory that the host sees, until it is reset.
void compute_llama_kernels();

}  // namespace tapedeck::tests
