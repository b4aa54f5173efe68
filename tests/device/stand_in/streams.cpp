// SPDX-License-Identifier: Apache-2.0
// Streams, events, and the work on them.
#include <algorithm>
#include <cstring>

#include "device/stand_in/state.hpp"

namespace tapedeck::tests::stand_in {
namespace {

bool may_go_on(const Stream& stream) {
  if (stream.held) return false;
  if (stream.tasks.empty()) return stream.destroyed;
  const Task& next = stream.tasks.front();
  return next.kind != Task::Kind::wait || next.moment->reached;
}

// Both have the same total length, but not the same pieces.
void copy_pieces(const std::vector<Piece>& to, const std::vector<Piece>& from) {
  auto target = to.begin();
  auto source = from.begin();
  std::size_t target_done = 0;
  std::size_t source_done = 0;
  while (target != to.end() && source != from.end()) {
    const std::size_t part = std::min(target->bytes - target_done, source->bytes - source_done);
    std::memmove(target->at + target_done, source->at + source_done, part);
    target_done += part;
    source_done += part;
    if (target_done == target->bytes) {
      ++target;
      target_done = 0;
    }
    if (source_done == source->bytes) {
      ++source;
      source_done = 0;
    }
  }
}

// The mutex is not held while bytes are copied.
void transfer(const Task& task, std::unique_lock<std::mutex>& lock) {
  Resolved to = resolve(task.to, task.bytes);
  Resolved from;
  if (task.kind == Task::Kind::copy) from = resolve(task.from, task.bytes);
  for (const Resolved* side : {&to, &from}) {
    if (side->error.empty()) continue;
    state().violations.push_back("on a stream: " + side->error);
    return;
  }
  lock.unlock();
  if (task.kind == Task::Kind::copy) {
    copy_pieces(to.pieces, from.pieces);
  } else {
    for (const Piece& piece : to.pieces) std::memset(piece.at, task.value, piece.bytes);
  }
  // Before the end of the task is visible, because memory that was released meanwhile becomes free
  // here.
  to = {};
  from = {};
  lock.lock();
  ++state().transfers;
}

// The mutex is not held while the kernel computes.
void run(const Task& task, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  task.launch();
  lock.lock();
}

void work(Stream& stream) {
  std::unique_lock lock(state().mutex);
  while (true) {
    state().changed.wait(lock, [&] { return may_go_on(stream); });
    if (stream.tasks.empty()) return;
    // The task is in the queue while it runs, because the memory that it uses is in use.
    const Task& task = stream.tasks.front();
    if (task.kind == Task::Kind::record) {
      task.moment->when = std::chrono::steady_clock::now();
      task.moment->reached = true;
    } else if (task.kind == Task::Kind::kernel) {
      run(task, lock);
    } else if (task.kind != Task::Kind::wait) {
      transfer(task, lock);
    }
    stream.tasks.pop_front();
    state().changed.notify_all();
  }
}

Stream* make_stream(int device) {
  auto made = std::make_unique<Stream>();
  Stream* const stream = made.get();
  stream->device = device;
  state().streams.emplace(reinterpret_cast<CUstream>(stream), std::move(made));
  stream->worker = std::thread([stream] { work(*stream); });
  return stream;
}

Stream* default_stream(int device) {
  Stream*& stream = state().devices[static_cast<std::size_t>(device)].default_stream;
  if (stream == nullptr) stream = make_stream(device);
  return stream;
}

Event* event_of(const Call& call, CUevent handle) {
  const auto found = state().events.find(handle);
  if (found != state().events.end() && !found->second->destroyed) return found->second.get();
  call.violation("no such event");
  return nullptr;
}

void wait_until_idle(Call& call, const Stream& stream) {
  state().changed.wait(call.lock(), [&] { return stream.tasks.empty(); });
}

bool reached(const Event& event) { return event.recorded == nullptr || event.recorded->reached; }

CUresult put_transfer(const Call& call, CUstream handle, const Task& task) {
  Stream* const stream = stream_of(call, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (task.bytes == 0) return call.violation("the size is 0");
  const Resolved to = resolve(task.to, task.bytes);
  if (!to.error.empty()) return call.violation(to.error);
  if (task.kind == Task::Kind::fill && !to.on_device) {
    return call.violation("fills host memory");
  }
  if (task.kind == Task::Kind::copy) {
    const Resolved from = resolve(task.from, task.bytes);
    if (!from.error.empty()) return call.violation(from.error);
  }
  put(*stream, task);
  return CUDA_SUCCESS;
}

}  // namespace

void put(Stream& stream, Task task) {
  stream.tasks.push_back(std::move(task));
  state().changed.notify_all();
}

Stream* stream_of(const Call& call, CUstream handle, bool may_be_captured) {
  if (handle == nullptr) return default_stream(call.device());
  const auto found = state().streams.find(handle);
  if (found == state().streams.end() || found->second->destroyed) {
    call.violation("no such stream");
    return nullptr;
  }
  Stream& stream = *found->second;
  if (stream.device != call.device()) {
    call.violation("the stream belongs to another device");
    return nullptr;
  }
  if (stream.captured && !may_be_captured) {
    call.violation("the stream is captured");
    return nullptr;
  }
  return &stream;
}

void end_streams(std::unique_lock<std::mutex>& lock) {
  std::vector<std::thread> workers;
  for (auto& [handle, stream] : state().streams) {
    stream->held = false;
    stream->destroyed = true;
    if (stream->worker.joinable()) workers.push_back(std::move(stream->worker));
  }
  state().changed.notify_all();
  lock.unlock();
  for (std::thread& worker : workers) worker.join();
  lock.lock();
}

Hold::Hold(CUstream stream) {
  const std::scoped_lock lock(state().mutex);
  Stream* const held = stream == nullptr ? default_stream(0) : reinterpret_cast<Stream*>(stream);
  held->held = true;
  stream_ = held;
}

Hold::~Hold() {
  const std::scoped_lock lock(state().mutex);
  static_cast<Stream*>(stream_)->held = false;
  state().changed.notify_all();
}

}  // namespace tapedeck::tests::stand_in

using namespace tapedeck::tests::stand_in;

CUresult CUDAAPI cuStreamCreate(CUstream* stream, unsigned int flags) {
  STAND_IN_FOR(Needs::context);
  if (flags != CU_STREAM_NON_BLOCKING) return call.violation("the stream must be non-blocking");
  *stream = reinterpret_cast<CUstream>(make_stream(call.device()));
  return CUDA_SUCCESS;
}

// Work on the stream still runs.
CUresult CUDAAPI cuStreamDestroy_v2(CUstream handle) {
  STAND_IN_FOR(Needs::context);
  if (handle == nullptr) return call.violation("the default stream");
  Stream* const stream = stream_of(call, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  stream->destroyed = true;
  state().changed.notify_all();
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamSynchronize(CUstream handle) {
  STAND_IN_FOR(Needs::context);
  const Stream* const stream = stream_of(call, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  wait_until_idle(call, *stream);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxSynchronize() {
  STAND_IN_FOR(Needs::context);
  std::vector<const Stream*> streams;
  for (const auto& [handle, stream] : state().streams) {
    if (stream->device == call.device()) streams.push_back(stream.get());
  }
  for (const Stream* const stream : streams) wait_until_idle(call, *stream);
  return CUDA_SUCCESS;
}

// The stream waits for the latest record now, whatever is recorded later.
CUresult CUDAAPI cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned int flags) {
  STAND_IN_FOR(Needs::context);
  if (flags != 0) return call.violation("flags must be 0");
  Stream* const stream = stream_of(call, handle);
  const Event* const event = event_of(call, event_handle);
  if (stream == nullptr || event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (reached(*event)) return CUDA_SUCCESS;
  put(*stream, {.kind = Task::Kind::wait, .moment = event->recorded});
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventCreate(CUevent* handle, unsigned int /*flags*/) {
  STAND_IN_FOR(Needs::context);
  auto event = std::make_unique<Event>();
  event->device = call.device();
  *handle = reinterpret_cast<CUevent>(event.get());
  state().events.emplace(*handle, std::move(event));
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventDestroy_v2(CUevent handle) {
  STAND_IN_FOR(Needs::context);
  Event* const event = event_of(call, handle);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  event->destroyed = true;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventRecord(CUevent event_handle, CUstream handle) {
  STAND_IN_FOR(Needs::context);
  Stream* const stream = stream_of(call, handle);
  Event* const event = event_of(call, event_handle);
  if (stream == nullptr || event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (event->device != stream->device) {
    return call.violation("the event and the stream belong to different devices",
                          CUDA_ERROR_INVALID_HANDLE);
  }
  event->recorded = std::make_shared<Moment>();
  put(*stream, {.kind = Task::Kind::record, .moment = event->recorded});
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventQuery(CUevent handle) {
  STAND_IN_FOR(Needs::context);
  const Event* const event = event_of(call, handle);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  return reached(*event) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult CUDAAPI cuEventSynchronize(CUevent handle) {
  STAND_IN_FOR(Needs::context);
  const Event* const event = event_of(call, handle);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const std::shared_ptr<Moment> moment = event->recorded;
  state().changed.wait(call.lock(), [&] { return moment == nullptr || moment->reached; });
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                               CUstream stream) {
  STAND_IN_FOR(Needs::context);
  return put_transfer(call, stream,
                      {.kind = Task::Kind::copy, .to = to, .from = from, .bytes = bytes});
}

CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr at, unsigned char value, std::size_t bytes,
                                 CUstream stream) {
  STAND_IN_FOR(Needs::context);
  return put_transfer(call, stream,
                      {.kind = Task::Kind::fill, .to = at, .bytes = bytes, .value = value});
}
