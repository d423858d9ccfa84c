// Runs a function on several threads.

#pragma once

#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <dlfcn.h>
#endif

namespace {

// Calls work(shared) on `threads` threads, which share the work out among themselves. Where torch has loaded GNU's
// OpenMP, its threads are used: they wait for work in a busy loop and would take the processor from any others.
void run_on_threads(void (*work)(void *), void *shared, int32_t threads) {
#if defined(__linux__)
  using Fork = void (*)(void (*)(void *), void *, unsigned, unsigned);
  static const Fork fork = reinterpret_cast<Fork>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  if (fork && threads > 1) return fork(work, shared, unsigned(threads), 0);
#endif
  std::vector<std::thread> others;
  try {
    while (int32_t(others.size()) + 1 < threads) others.emplace_back(work, shared);
  } catch (const std::exception &) {  // no more threads can be started: those that run do the work
  }
  work(shared);
  for (std::thread &other : others) other.join();
}

}  // namespace
