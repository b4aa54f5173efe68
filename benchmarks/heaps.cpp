// SPDX-License-Identifier: Apache-2.0
#include "heaps.hpp"

#include <dlfcn.h>

#include <cstdlib>

namespace heaps {
namespace {

Mimalloc open_mimalloc() {
  void* library = dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {};
  const auto load = [&](const char* name, auto& function) {
    void* const address = dlsym(library, name);
    function = reinterpret_cast<std::decay_t<decltype(function)>>(address);
    return address != nullptr;
  };
  Mimalloc result;
  int (*version)() = nullptr;
  const bool complete = load("mi_malloc", result.malloc) &&
                        load("mi_malloc_aligned", result.malloc_aligned) &&
                        load("mi_free", result.free) && load("mi_version", version);
  if (!complete) return {};
  result.version = version();
  return result;
}

}  // namespace

std::string malloc_file() {
  Dl_info info{};
  // The function that calls of `malloc` in this program reach.
  void* const address = dlsym(RTLD_DEFAULT, "malloc");
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "an unknown file";
  return info.dli_fname;
}

bool malloc_is_glibc() { return malloc_file().find("/libc.so.6") != std::string::npos; }

const Mimalloc& mimalloc() {
  static const Mimalloc opened = open_mimalloc();
  return opened;
}

std::string description() {
  const Mimalloc& mi = mimalloc();  // opened before malloc_file() is called
  std::string text = "malloc comes from " + malloc_file();
  if (!malloc_is_glibc()) text += ", which is not glibc: its rows are left out";
  text += mi ? "; mimalloc " + std::to_string(mi.version / 100) + "." +
                   std::to_string(mi.version / 10 % 10) + "." + std::to_string(mi.version % 10)
             : "; libmimalloc.so.2 is not installed: its rows are left out";
  return text;
}

}  // namespace heaps
