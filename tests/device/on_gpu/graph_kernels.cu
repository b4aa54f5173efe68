// SPDX-License-Identifier: Apache-2.0
// What a decode step does, simple enough for the host to compute the same: all values are integers
// that a float holds exactly, whatever the order of additions.

// Appends K and V of the token at positions[0]. The position is read here, so one graph serves all
// positions.
extern "C" __global__ void append_row(const float* hidden, const int* positions, float* keys,
                                      float* values, unsigned width) {
  const unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  const unsigned long long at = static_cast<unsigned long long>(positions[0]) * width + column;
  keys[at] = hidden[column];
  values[at] = 2.0F * hidden[column] + 1.0F;
}

// Computes the sum over all rows of the talk, and the input of the next layer.
extern "C" __global__ void attend(const float* keys, const float* values, const int* lengths,
                                  const float* hidden, float* attention, float* residual,
                                  unsigned width) {
  const unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  float sum = 0.0F;
  for (int row = 0; row < lengths[0]; ++row) {
    const unsigned long long at = static_cast<unsigned long long>(row) * width + column;
    sum += keys[at] + values[at];
  }
  attention[column] = sum;
  residual[column] = hidden[column] + 1.0F;
}

extern "C" __global__ void project(const float* attention, const float* residual, float* logits,
                                   unsigned width, unsigned vocabulary) {
  const unsigned token = blockIdx.x * blockDim.x + threadIdx.x;
  if (token >= vocabulary) return;
  logits[token] = attention[token % width] + residual[token % width];
}
