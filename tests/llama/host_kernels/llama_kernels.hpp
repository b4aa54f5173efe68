// SPDX-License-Identifier: Apache-2.0
/// @file
/// The kernels of the decoder, for the stand-in driver.
#pragma once

namespace tapedeck::tests {

/// Makes the stand-in compute these kernels until its next reset. Their memory must be visible to
/// the host.
void compute_llama_kernels();

}  // namespace tapedeck::tests
