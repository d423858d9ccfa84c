// The version of the C interface between the compiled kernels and their Python bindings.
//
// Raise ABI_VERSION here and in native.py whenever a function or a structure of any interface changes. A binding
// refuses a library of another version, which is one that was compiled before its source changed.

#pragma once

#include <cstdint>

#ifndef ABI_VERSION
#define ABI_VERSION 2
#endif

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

EXPORT int32_t customir_abi_version() { return ABI_VERSION; }
